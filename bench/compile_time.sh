#!/usr/bin/env bash
# Prints the compile time of a file that only includes pllava/pllava.hpp, in both modes, best of
# three.
# Usage: bench/compile_time.sh [CXX]
set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
cxx=${1:-${CXX:-c++}}
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
printf '#include "pllava/pllava.hpp"\nint main() {}\n' >"$work/unit.cpp"
printf 'int main() {}\n' >"$work/empty.cpp"

# measure LABEL FILE FLAG...
measure() {
  local label=$1 file=$2 best="" start end
  shift 2
  for _ in 1 2 3; do
    start=$(date +%s%N)
    "$cxx" -std=c++20 -O2 -I"$root/include" "$@" \
      -c "$work/$file.cpp" -o "$work/$file.o"
    end=$(date +%s%N)
    if [[ -z $best ]] || ((end - start < best)); then best=$((end - start)); fi
  done
  printf '%-24s %6d ms\n' "$label" "$((best / 1000000))"
}

"$cxx" --version | head -n 1
measure "empty file" empty
measure "pllava.hpp, compiled" unit -DPLLAVA_COMPILED
measure "pllava.hpp, header-only" unit
