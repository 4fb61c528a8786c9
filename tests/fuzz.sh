#!/usr/bin/env bash
# Fuzzes the readers of untrusted input with libFuzzer, AddressSanitizer and UBSan.
set -euo pipefail

usage() {
  cat <<'HELP'
Usage: tests/fuzz.sh SECONDS [TARGET...]
  SECONDS   per target
  TARGET    image, video, files (JSON, safetensors, GGUF, packed weights) or text (default: all)
Environment:
  FUZZ_DIR  programs, corpora and crashes (default: build/fuzz in the source directory)
  JOBS      compilers at a time (default: number of processors)
Needs clang with libFuzzer, and the packages of tests/run.sh. Exit code 1 if a target crashes, leaks,
hangs for 60 s or takes more than 2 GiB; the input is then in FUZZ_DIR/TARGET-crashes.
HELP
}

case "${1:-}" in
  --help | -h) usage; exit 0 ;;
  '' | *[!0-9]*) usage >&2; exit 2 ;;
esac
seconds=$1
shift
targets=("$@")
if [[ ${#targets[@]} == 0 ]]; then targets=(image video files text); fi

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
fuzz_dir=${FUZZ_DIR:-$root/build/fuzz}
mkdir -p "$fuzz_dir"
read -ra ffmpeg <<<"$(pkg-config --cflags --libs libavformat libavcodec libavutil libswscale)"

# Inputs of target files: a byte that selects the kind, then a file of the tests.
files_seeds() {
  local out=$1 model=$root/tests/data/model/plain_f32
  { printf t; cat "$root/tests/data/tokenizer/metaspace.json"; } >"$out/tokenizer"
  { printf t; cat "$root/tests/data/tokenizer/byte_level/qwen2.json"; } >"$out/byte_level"
  { printf c; cat "$model/config.json"; } >"$out/config"
  { printf p; cat "$root/examples/demo_model/weights/preprocessor_config.json"; } >"$out/preprocessor"
  { printf s; head -c 4096 "$model"/*.safetensors; } >"$out/safetensors"
  local gguf=$root/tests/data/gguf_model
  for name in llama qwen2; do { printf g; head -c 8192 "$gguf/$name.gguf"; } >"$out/$name.gguf"; done
  { printf v; head -c 4096 "$gguf/vision.gguf"; } >"$out/vision.gguf"
}

# stb_image copies 0 bytes to null pointers (nonnull-attribute); enums of FFmpeg, which is C, can have
# any value that a file contains (enum). stb_image shifts by more than the width of its bit buffer in
# damaged progressive JPEGs; the bits have no meaning there, and memory is not affected (shift).
printf '[shift]\nsrc:*stb_image.h\n' >"$fuzz_dir/ignored"
compiler=($(command -v ccache || true) clang++)
flags=(-std=c++20 -O1 -g1 -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
  -fno-sanitize=nonnull-attribute,enum "-fsanitize-ignorelist=$fuzz_dir/ignored" -pthread
  -I"$root/include" "-DPLLAVA_DEMO_WEIGHTS=\"$root/examples/demo_model/weights\""
  "-DPLLAVA_TEST_DATA=\"$root/tests/data\"")

# compile DIRECTORY SOURCE...: the objects of the sources, in FUZZ_DIR/DIRECTORY.
compile() {
  local out=$fuzz_dir/$1
  shift
  rm -rf "$out"
  mkdir -p "$out"
  (cd "$out" && printf '%s\0' "$@" |
    xargs -0 -n 1 -P "${JOBS:-$(nproc)}" "${compiler[@]}" "${flags[@]}" -c)
}

for target in "${targets[@]}"; do
  case $target in
    image | video | files | text) ;;
    *) echo "tests/fuzz.sh: unknown target $target" >&2; exit 2 ;;
  esac
done

echo "=== build"
sources=()
for target in "${targets[@]}"; do sources+=("$root/tests/fuzz/$target.cpp"); done
compile targets "${sources[@]}"
if [[ " ${targets[*]} " =~ \ (image|video)\  ]]; then compile media "$root"/src/video/*.cpp; fi

for target in "${targets[@]}"; do
  objects=("$fuzz_dir/targets/$target.o")
  if [[ $target == image || $target == video ]]; then objects+=("$fuzz_dir"/media/*.o); fi
  clang++ -fsanitize=fuzzer,address,undefined "${objects[@]}" "${ffmpeg[@]}" -pthread \
    -o "$fuzz_dir/$target"
  corpus=$fuzz_dir/$target-corpus
  mkdir -p "$corpus" "$fuzz_dir/$target-crashes"
  seeds=$root/tests/fuzz/seeds/$target
  if [[ $target == files ]]; then files_seeds "$corpus"; fi
  if [[ $target == text ]]; then printf 'What happens? <image> </s>\n' >"$corpus/question"; fi
  echo "=== $target: $seconds s"
  "$fuzz_dir/$target" -max_total_time="$seconds" -timeout=60 -rss_limit_mb=2048 -max_len=20000 \
    -print_final_stats=1 -print_funcs=0 -verbosity=0 -artifact_prefix="$fuzz_dir/$target-crashes/" "$corpus" \
    $([[ -d $seeds ]] && echo "$seeds") 2>&1 | grep -vE '^(INFO|Dictionary)' || exit 1
done
