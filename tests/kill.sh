#!/usr/bin/env bash
# Kills commands that write files at random moments and checks what they leave.
set -euo pipefail

usage() {
  cat <<'HELP'
Usage: tests/kill.sh [RUNS]
  RUNS   kills per command (default: 100)
Environment:
  PLLAVA   the program (default: build/release/pllava in the source directory)
  SEED     of the random delays (default: 1)
Kills trace, caption --cache, quantize, quantize --calibrate and write-random with SIGKILL after a
random part of their normal duration. Afterwards the output must be absent or complete: that of an
undisturbed run or, for files, the old one. The next run must succeed, give the same output and
remove the part that the killed one left. Prints per command how many kills left which output, how
many left a part, and how many came after the end of the command. Exit code 1 at the first fault;
the files are then kept.
HELP
}
case "${1:-}" in
  --help | -h) usage; exit 0 ;;
  *[!0-9]*) usage >&2; exit 2 ;;
esac
runs=${1:-100}

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
pllava=${PLLAVA:-$root/build/release/pllava}
model=$root/examples/demo_model/weights
clips=$root/examples/demo_model/clips
RANDOM=${SEED:-1}
work=$(mktemp -d)

# A digest of a file, or of the names and contents of a directory; "absent" if there is neither.
digest() {
  if [[ -d $1 ]]; then
    (cd "$1" && find . -type f | LC_ALL=C sort | xargs sha256sum | sha256sum)
  elif [[ -e $1 ]]; then
    sha256sum <"$1"
  else
    echo absent
  fi
}

milliseconds() { echo $(($(date +%s%N) / 1000000)); }

fault() {
  echo "tests/kill.sh: $name: $* (files: $work)" >&2
  exit 1
}

# kills NAME OLD COMMAND...: kills COMMAND, which writes $out. OLD is a file that it replaces in every
# second run, or "" if it needs a new name.
kills() {
  name=$1
  local old=$2 new begin time duration delay state before code part
  shift 2
  duration=1000000
  for run in 1 2 3; do  # the first fills the page cache
    rm -rf "$out"
    begin=$(milliseconds)
    "$@" >/dev/null 2>"$work/stderr" || fault "fails undisturbed: $(cat "$work/stderr")"
    time=$(($(milliseconds) - begin))
    if ((time < duration)); then duration=$time; fi
  done
  new=$(digest "$out")
  local -A count=([absent]=0 [old]=0 [new]=0 [parts]=0 [late]=0)
  for ((run = 0; run < runs; ++run)); do
    rm -rf "$out"
    if [[ -n $old && $((run % 2)) == 1 ]]; then cp "$old" "$out"; fi
    before=$(digest "$out")
    delay=$((1 + RANDOM % (duration + duration / 10 + 1)))
    code=0
    timeout --foreground -s KILL "$(printf '%d.%03d' $((delay / 1000)) $((delay % 1000)))" \
      "$@" >/dev/null 2>"$work/stderr" || code=$?
    case $code in
      124 | 137) ;;  # killed
      0) count[late]=$((count[late] + 1)) ;;
      *) fault "exit code $code: $(cat "$work/stderr")" ;;
    esac
    case $(digest "$out") in
      "$new") state=new ;;
      absent) state=absent ;;
      "$before") state=old ;;
      *) fault "run $run, killed after $delay ms, left another output" ;;
    esac
    if [[ $state == absent && $before != absent ]]; then fault "run $run removed the old file"; fi
    if [[ $code == 0 && $state != new ]]; then fault "run $run succeeded without its output"; fi
    count[$state]=$((count[$state] + 1))
    for part in "$work/out"/*.part; do
      if [[ -e $part ]]; then count[parts]=$((count[parts] + 1)); fi
    done
    if [[ -z $old ]]; then rm -rf "$out"; fi
    "$@" >/dev/null 2>"$work/stderr" || fault "the run after run $run: $(cat "$work/stderr")"
    [[ $(digest "$out") == "$new" ]] || fault "the run after run $run gave another output"
    [[ $(ls -A "$work/out") == "$(basename "$out")" ]] || fault "files left: $(ls -A "$work/out")"
  done
  rm -rf "$out"
  printf '%-22s %4d ms  %4d kills: %3d absent, %3d old, %3d new; %3d parts, %3d late\n' "$name" \
    "$duration" "$runs" "${count[absent]}" "${count[old]}" "${count[new]}" "${count[parts]}" \
    "${count[late]}"
}

mkdir "$work/out"
out=$work/out/result
# Valid files of other contents.
"$pllava" trace "$clips/blink.mp4" --model "$model" --out "$work/old_trace" >/dev/null
"$pllava" caption "$clips/blink.mp4" --model "$model" --dtype int4 --cache "$work/old_cache" >/dev/null

kills trace "$work/old_trace" "$pllava" trace "$clips/move.mp4" --model "$model" --out "$out"
kills "caption --cache" "$work/old_cache" "$pllava" caption "$clips/move.mp4" --model "$model" \
  --dtype int8 --cache "$out" --max-new-tokens 1
kills quantize "" "$pllava" quantize "$model" --dtype int4 --out "$out"
kills "quantize --calibrate" "" "$pllava" quantize "$model" --dtype int4 --calibrate \
  "$clips/move.mp4" --out "$out"
kills write-random "" "$pllava" write-random --out "$out" --tokenizer \
  "$root/tests/data/tokenizer/tokenizer.json"
rm -rf "$work"
