#!/usr/bin/env bash
# From nothing to a described video: installs what the build needs (Debian 12), builds the program,
# makes a tiny model with random weights and a short clip, and runs `pllava caption`.
set -euo pipefail

usage() {
  cat <<'HELP'
Usage: examples/demo.sh [VIDEO]
  VIDEO   a video of yours; without one, a clip of a moving test pattern is made
Environment:
  MODEL       folder of a PLLaVA checkpoint; without one, a tiny one with random weights is written
  BUILD_DIR   where to build (build/demo beside the sources unless set)
  JOBS        jobs at a time (all processors unless set)
HELP
}
case "${1:-}" in
  --help | -h) usage; exit 0 ;;
  -*) echo "examples/demo.sh: unknown option $1" >&2; usage >&2; exit 2 ;;
esac

source_dir=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
build_dir=${BUILD_DIR:-$source_dir/build/demo}
JOBS=${JOBS:-$(nproc)}

echo "== packages"
if [[ -z ${1:-} ]]; then clip_maker=(ffmpeg); else clip_maker=(); fi
bash "$source_dir/cmake/install_packages.sh" \
  build-essential cmake ninja-build pkg-config nlohmann-json3-dev libcli11-dev \
  libavformat-dev libavcodec-dev libavutil-dev libswscale-dev libstb-dev \
  "${clip_maker[@]}"

echo "== building the program (Release) in $build_dir"
if command -v ccache >/dev/null; then
  export CMAKE_CXX_COMPILER_LAUNCHER=ccache
fi
mkdir -p "$build_dir"
{
  cmake -S "$source_dir" -B "$build_dir" -G Ninja -DCMAKE_BUILD_TYPE=Release \
    -DPLLAVA_BUILD_TESTS=OFF -DPLLAVA_VIDEO=ON &&
    cmake --build "$build_dir" -j "$JOBS"
} >"$build_dir/build.log" 2>&1 || { cat "$build_dir/build.log" >&2; exit 1; }

model=${MODEL:-}
if [[ -z $model ]]; then
  model=$build_dir/tiny
  echo "== writing a tiny checkpoint with random weights to $model"
  "$build_dir/pllava" write-random --out "$model" \
    --tokenizer "$source_dir/tests/data/tokenizer/tokenizer.json"
fi

clip=${1:-}
if [[ -z $clip ]]; then
  clip=$build_dir/clip.mp4
  echo "== making a clip: $clip"
  ffmpeg -loglevel error -y -f lavfi -i testsrc2=size=320x240:rate=24:duration=3 \
    -pix_fmt yuv420p "$clip"
fi

echo "== pllava caption"
if [[ -z ${MODEL:-} ]]; then
  echo "The weights are random: the words below show that everything runs, and mean nothing."
  echo "For a real description set MODEL to the folder of a PLLaVA checkpoint."
fi
"$build_dir/pllava" caption "$clip" --model "$model"
