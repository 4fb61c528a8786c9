#!/usr/bin/env bash
# Builds the CUDA component and runs everything that needs a GPU: the tests labelled gpu, the small
# ones again under compute-sanitizer, and the benchmarks. Installs nothing, so it needs no network.
set -euo pipefail

usage() {
  cat <<'HELP'
Usage: tests/gpu.sh [--no-bench] [--no-sanitizer] [--help]
  --no-bench      skip the benchmarks
  --no-sanitizer  skip compute-sanitizer
Environment:
  JOBS           parallel build jobs (default: number of processors)
  BUILD_DIR      build directory (default: build/gpu in the source directory)
  HEADERS        directory with headers that are not installed, see below
  BENCH_MODEL    model option of pllava bench (default: --random-weights 7b)
  BENCH_DTYPES   values of --dtype to benchmark (default: "bf16 fp8 int4")

Needs nvcc, cmake 3.25, ninja, g++ 12, and the headers of nlohmann_json, CLI11 and Catch2 2.13. If
they are not installed, copy them from another machine and set HEADERS:
  mkdir headers && cp -r /usr/include/{nlohmann,CLI,catch2} headers/
  HEADERS=$PWD/headers bash tests/gpu.sh
Attention is also compared with cuDNN if cudnn_frontend.h is installed or in HEADERS (from the
directory include of the PyPI package nvidia-cudnn-frontend).
HELP
}

bench=yes
sanitizer=yes
for argument in "$@"; do
  case "$argument" in
    --no-bench) bench=no ;;
    --no-sanitizer) sanitizer=no ;;
    --help | -h) usage; exit 0 ;;
    *) echo "tests/gpu.sh: unknown option $argument" >&2; usage >&2; exit 2 ;;
  esac
done

source_dir=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
build_dir=${BUILD_DIR:-$source_dir/build/gpu}
mkdir -p "$build_dir"
JOBS=${JOBS:-$(nproc)}
started=$SECONDS
step() { printf '\n=== [%4ds] %s\n' "$((SECONDS - started))" "$*"; }

for tool in nvcc cmake ninja g++; do
  command -v "$tool" >/dev/null || { echo "tests/gpu.sh: $tool is not on the PATH" >&2; exit 1; }
done
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader

options=(-DCMAKE_BUILD_TYPE=Release -DPLLAVA_CUDA=ON -DPLLAVA_VIDEO=OFF -DPLLAVA_SENTENCEPIECE=OFF
  -DPLLAVA_EIGEN=OFF -DPLLAVA_BUILD_EXAMPLES=OFF -DPLLAVA_INSTALL=OFF
  -DCMAKE_CUDA_ARCHITECTURES=native)
if [[ -n ${HEADERS:-} ]]; then  # generates the packages that CMake looks for
  packages=$build_dir/packages
  options+=("-DCMAKE_PREFIX_PATH=$packages" "-DCMAKE_MODULE_PATH=$packages"
    "-DCMAKE_INCLUDE_PATH=$(realpath "$HEADERS")")
  while read -r package version target; do
    mkdir -p "$packages/$package"
    cat >"$packages/$package/$package-config.cmake" <<CONFIG
if(NOT TARGET $target)
  add_library($target INTERFACE IMPORTED)
  set_target_properties($target PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "$(realpath "$HEADERS")")
endif()
CONFIG
    cat >"$packages/$package/$package-config-version.cmake" <<VERSION
set(PACKAGE_VERSION $version)
set(PACKAGE_VERSION_COMPATIBLE TRUE)
VERSION
  done <<'PACKAGES'
nlohmann_json 3.11.2 nlohmann_json::nlohmann_json
CLI11 2.1.2 CLI11::CLI11
Catch2 2.13.10 Catch2::Catch2
PACKAGES
  # An empty replacement of Catch2's CMake module: the test program is run without ctest.
  printf 'function(catch_discover_tests)\nendfunction()\n' >"$packages/Catch.cmake"
fi

step "configure and build"
cmake -S "$source_dir" -B "$build_dir" -G Ninja "${options[@]}" >"$build_dir/configure.log" 2>&1 ||
  { cat "$build_dir/configure.log" >&2; exit 1; }
cmake --build "$build_dir" -j "$JOBS" --target pllava_gpu_tests pllava_cli >"$build_dir/build.log" 2>&1 ||
  { tail -50 "$build_dir/build.log" >&2; exit 1; }

step "tests on the GPU"
"$build_dir/tests/pllava_gpu_tests"

if [[ $sanitizer == yes ]] && command -v compute-sanitizer >/dev/null; then
  step "compute-sanitizer"
  compute-sanitizer --error-exitcode 1 --leak-check full "$build_dir/tests/pllava_gpu_tests" "[cuda]"
fi

if [[ $bench == yes ]]; then
  for dtype in ${BENCH_DTYPES:-bf16 fp8 int4}; do
    step "benchmarks, $dtype"
    # shellcheck disable=SC2086  # several words on purpose
    "$build_dir/pllava" bench --device cuda --dtype "$dtype" ${BENCH_MODEL:---random-weights 7b}
  done
fi
step "done"
