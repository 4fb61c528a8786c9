#!/usr/bin/env bash
# Builds the CUDA component and runs all that needs a GPU: the tests labelled gpu, compute-sanitizer on
# the small ones, the benchmarks. For machines without a network: it installs nothing.
set -euo pipefail

usage() {
  cat <<'HELP'
Usage: tests/gpu.sh [--no-bench] [--no-sanitizer] [--help]
  --no-bench      only the tests
  --no-sanitizer  leave compute-sanitizer out
Environment:
  JOBS           jobs at a time (all processors unless set)
  BUILD_DIR      where to build (build/gpu beside the sources unless set)
  HEADERS        a folder of headers that the machine lacks, see below
  BENCH_MODEL    of pllava bench (--random-weights 7b unless set)
  BENCH_DTYPES   of its runs ("bf16 fp8 int4" unless set)

Needs nvcc, cmake 3.25, ninja, g++ 12, and the headers of nlohmann_json, CLI11 and Catch2 2.13. Where those
are not installed, copy them from a machine that has them, and name the folder:
  mkdir headers && cp -r /usr/include/{nlohmann,CLI,catch2} headers/
  HEADERS=$PWD/headers bash tests/gpu.sh
Attention is also held against cuDNN's where cudnn_frontend.h is there or among HEADERS (the folder include of
PyPI's nvidia-cudnn-frontend).
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
if [[ -n ${HEADERS:-} ]]; then  # the packages that CMake looks for, made of these headers
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
  # Catch2's module would list the tests for ctest; here their program is run as it is.
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
