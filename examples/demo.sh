#!/usr/bin/env bash
# Installs the build dependencies (Debian 12), builds the program, and runs the bundled model on a
# bundled clip: one caption and two questions.
set -euo pipefail

usage() {
  cat <<'HELP'
Usage: examples/demo.sh [VIDEO]
  VIDEO   video file (default: a clip that is bundled with the model)
Environment:
  MODEL       directory of a PLLaVA checkpoint (default: the bundled model, which was trained on
              videos of moving shapes only)
  BUILD_DIR   build directory (default: build/demo in the source directory)
  JOBS        parallel build jobs (default: number of processors)
HELP
}
case "${1:-}" in
  --help | -h) usage; exit 0 ;;
  -*) echo "examples/demo.sh: unknown option $1" >&2; usage >&2; exit 2 ;;
esac

source_dir=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
build_dir=${BUILD_DIR:-$source_dir/build/demo}
demo_model=$source_dir/examples/demo_model
JOBS=${JOBS:-$(nproc)}

echo "== packages"
bash "$source_dir/cmake/install_packages.sh" \
  build-essential cmake ninja-build pkg-config nlohmann-json3-dev libcli11-dev \
  libavformat-dev libavcodec-dev libavutil-dev libswscale-dev libstb-dev

echo "== building the program (Release) in $build_dir"
if command -v ccache >/dev/null; then
  export CMAKE_CXX_COMPILER_LAUNCHER=ccache
fi
mkdir -p "$build_dir"
{
  cmake -S "$source_dir" -B "$build_dir" -G Ninja -DCMAKE_BUILD_TYPE=Release \
    -DPLLAVA_BUILD_TESTS=OFF -DPLLAVA_BUILD_EXAMPLES=OFF -DPLLAVA_CUDA=OFF -DPLLAVA_VIDEO=ON &&
    cmake --build "$build_dir" -j "$JOBS"
} >"$build_dir/build.log" 2>&1 || { cat "$build_dir/build.log" >&2; exit 1; }

model=${MODEL:-$demo_model/weights}
clip=${1:-$demo_model/clips/move.mp4}
started=$(date +%s%N)

echo "== pllava caption $(basename -- "$clip")"
"$build_dir/pllava" caption "$clip" --model "$model"
if [[ -z ${1:-} ]]; then
  echo "   what the clip shows: $(<"$demo_model/clips/move.txt")"
fi
echo "== pllava ask $(basename -- "$clip")"
"$build_dir/pllava" ask "$clip" "What colour is the ring?" "In which direction does the ring move?" --model "$model"
echo "== $((($(date +%s%N) - started) / 1000000)) ms for both, the model loaded twice"
