#!/usr/bin/env bash
# Runs commands that write files on a full and on a read-only file system.
set -euo pipefail

usage() {
  cat <<'HELP'
Usage: tests/full_disk.sh
Environment:
  PLLAVA   the program (default: build/release/pllava in the source directory)
Runs trace, caption --cache, quantize, quantize --calibrate and write-random on a tmpfs of 64 KiB and
on a read-only one, both in a mount namespace of their own. Each must exit with 1, print one line with
the output and the reason, keep an old file and leave nothing. The read-only ones must fail before
the model is read: they name one that does not exist, where the order of the checks allows it.
Needs unshare(1), and root or user namespaces. Exit code 1 at the first fault.
HELP
}
case "${1:-}" in
  --help | -h) usage; exit 0 ;;
  ?*) usage >&2; exit 2 ;;
esac

if [[ -z ${PLLAVA_MOUNT_NAMESPACE:-} ]]; then
  as_root=()
  if [[ $(id -u) != 0 ]]; then as_root=(--map-root-user); fi
  PLLAVA_MOUNT_NAMESPACE=1 exec unshare --mount "${as_root[@]}" -- bash "${BASH_SOURCE[0]}"
fi

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
pllava=${PLLAVA:-$root/build/release/pllava}
demo=$root/examples/demo_model
work=$(mktemp -d)
trap 'umount "$work"; rmdir "$work"' EXIT
mount -t tmpfs -o size=64k tmpfs "$work"
out=$work/out
old=
checks=0

# fails REASON COMMAND...: COMMAND fails because of REASON and leaves the file system as it was.
fails() {
  local reason=$1 code=0 message
  shift
  message=$("$@" 2>&1 >/dev/null) || code=$?
  if [[ $code != 1 || $(wc -l <<<"$message") != 1 || $message != *"$out"*"$reason" ]]; then
    echo "tests/full_disk.sh: exit code $code, \"$message\" instead of \"$reason\": $*" >&2
    exit 1
  fi
  if [[ $(ls -A "$work") != "${old:+out}" || ($old && $(cat "$out") != "$old") ]]; then
    echo "tests/full_disk.sh: files left or changed: $(ls -A "$work"): $*" >&2
    exit 1
  fi
  checks=$((checks + 1))
  echo "$message"
}

# all REASON MODEL: runs all commands; MODEL is that of commands that check the output first.
all() {
  local reason=$1 first=$2 model=$demo/weights
  fails "$reason" "$pllava" trace "$demo/clips/move.mp4" --model "$first" --out "$out"
  fails "$reason" "$pllava" caption "$demo/clips/move.mp4" --model "$model" --cache "$out"
  if [[ -n $old ]]; then return; fi  # the others do not replace
  fails "$reason" "$pllava" quantize "$model" --dtype int4 --out "$out/new"
  fails "$reason" "$pllava" quantize "$first" --dtype int4 --calibrate "$demo/clips/move.mp4" \
    --out "$out/new"
  fails "$reason" "$pllava" write-random --out "$out" --tokenizer \
    "$root/tests/data/tokenizer/tokenizer.json"
}

for content in "" "pllava: packed weights, layout 0"; do
  mount -o remount,rw "$work"
  old=$content
  if [[ -n $old ]]; then printf '%s\n' "$old" >"$out"; fi
  all "No space left on device" "$demo/weights"
  mount -o remount,ro "$work"
  all "Read-only file system" "$work/no-model"
done
echo "$checks commands failed as they should"
