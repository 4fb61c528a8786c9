#!/usr/bin/env bash
# Installs the build dependencies (Debian 12), builds everything and runs every test. Repeats the
# unit tests under AddressSanitizer and UBSan, the thread tests under ThreadSanitizer, the kernel
# tests on an emulated 64-bit Arm, and the unit tests with the oldest CMake and g++. Builds all but
# the tests with clang and libc++, and fuzzes for some minutes. Reads live sources that ffmpeg and
# GStreamer send on the loopback interface. Answers with published weights if they can be
# downloaded.
set -euo pipefail

usage() {
  cat <<'HELP'
Usage: tests/run.sh [--quick] [--no-install] [--help]
  --quick        only the first build: no sanitizers, Arm, oldest versions, libc++ or fuzzing
  --no-install   do not call apt-get; fail if a package is missing
Environment:
  JOBS           parallel build and test jobs (default: number of processors)
  BUILD_DIR      build directory (default: build in the source directory)
HELP
}

quick=no
install=yes
for argument in "$@"; do
  case "$argument" in
    --quick) quick=yes ;;
    --no-install) install=no ;;
    --help | -h) usage; exit 0 ;;
    *) echo "tests/run.sh: unknown option $argument" >&2; usage >&2; exit 2 ;;
  esac
done

source_dir=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
build_dir=${BUILD_DIR:-$source_dir/build}
JOBS=${JOBS:-$(nproc)}
started=$SECONDS

step() { printf '\n=== [%4ds] %s\n' "$((SECONDS - started))" "$*"; }

step "packages"
if [[ $install == no ]]; then set -- --check; else set --; fi
bash "$source_dir/cmake/install_packages.sh" "$@" \
  build-essential g++-11 cmake ninja-build pkg-config git python3-venv \
  libeigen3-dev nlohmann-json3-dev libcli11-dev catch2 libbenchmark-dev \
  libavformat-dev libavcodec-dev libavutil-dev libswscale-dev libavdevice-dev libstb-dev libsentencepiece-dev \
  clang clang-format clang-tidy libc++-14-dev libc++abi-14-dev libclang-rt-14-dev g++-aarch64-linux-gnu qemu-user \
  ffmpeg python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-good gstreamer1.0-plugins-bad

if command -v ccache >/dev/null; then
  export CMAKE_CXX_COMPILER_LAUNCHER=ccache
fi

# logged FILE COMMAND...: runs a command with its output in FILE, and prints the output if it fails.
logged() {
  local log=$1
  shift
  "$@" >"$log" 2>&1 || { cat "$log" >&2; return 1; }
}

# build NAME CMAKE_OPTION...: configures and builds into $build_dir/NAME.
build() {
  local name=$1
  shift
  step "$name: configure and build"
  mkdir -p "$build_dir/$name"
  logged "$build_dir/$name/configure.log" \
    cmake -S "$source_dir" -B "$build_dir/$name" -G Ninja -DPLLAVA_WERROR=ON "$@"
  grep -A3 -E 'left out|CMake Warning' "$build_dir/$name/configure.log" || true
  logged "$build_dir/$name/build.log" cmake --build "$build_dir/$name" -j "$JOBS"
}

# run_tests NAME CTEST_OPTION...: runs ctest in $build_dir/NAME. Prints failures and the summary.
summaries=()
run_tests() {
  local name=$1
  shift
  step "$name: ctest $*"
  local log=$build_dir/$name/ctest.log
  logged "$log" ctest --test-dir "$build_dir/$name" -j "$JOBS" --output-on-failure \
    --no-tests=error "$@"
  summaries+=("$name: $(grep 'tests passed' "$log")")
  sed -n '/tests passed/,$p' "$log"
}

build release -DCMAKE_BUILD_TYPE=Release -DPLLAVA_BUILD_BENCHMARKS=ON \
  -DPLLAVA_VIDEO=ON -DPLLAVA_SENTENCEPIECE=ON
run_tests release

step "live: sources of real peers on the loopback interface"
if python3 "$source_dir/tests/live/peers.py" "$build_dir/release/tests/live_probe" \
  >"$build_dir/live.log"; then
  summaries+=("live: $(wc -l <"$build_dir/live.log") sources")
elif [[ $? == 77 ]]; then
  summaries+=("live: $(grep -o 'skipped.*' "$build_dir/live.log" | head -n 1)")
else
  cat "$build_dir/live.log" >&2
  exit 1
fi

step "weights: published weights"
if /usr/bin/python3 -m venv "$build_dir/weights-venv"; then
  PYTHON=$build_dir/weights-venv/bin/python bash "$source_dir/tests/real_weights.sh" \
    "$build_dir/release" | tee "$build_dir/weights.log"
  summaries+=("weights: $(tail -n 1 "$build_dir/weights.log")")
else
  summaries+=("weights: skipped, a Python environment could not be created (see above)")
fi

if [[ $quick == no ]]; then
  sanitized=(-DCMAKE_BUILD_TYPE=RelWithDebInfo "-DCMAKE_CXX_FLAGS_RELWITHDEBINFO=-O1 -g1"
    -DPLLAVA_BUILD_TOOLS=OFF -DPLLAVA_BUILD_EXAMPLES=OFF -DPLLAVA_CUDA=OFF)
  build asan "${sanitized[@]}" "-DPLLAVA_SANITIZE=address;undefined"
  run_tests asan
  build tsan "${sanitized[@]}" -DPLLAVA_SANITIZE=thread
  run_tests tsan -L threads
  build arm -DCMAKE_BUILD_TYPE=Release --toolchain "$source_dir/cmake/aarch64-linux-gnu.cmake" \
    -DPLLAVA_BUILD_TOOLS=OFF -DPLLAVA_BUILD_EXAMPLES=OFF -DPLLAVA_INSTALL=OFF -DPLLAVA_CUDA=OFF \
    -DPLLAVA_VIDEO=OFF -DPLLAVA_SENTENCEPIECE=OFF
  run_tests arm -L unit

  oldest=(-DCMAKE_CXX_COMPILER=g++-11 -DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_FLAGS_RELEASE=-O1
    -DPLLAVA_BUILD_TOOLS=OFF -DPLLAVA_BUILD_EXAMPLES=OFF -DPLLAVA_INSTALL=OFF -DPLLAVA_CUDA=OFF
    -DPLLAVA_VIDEO=OFF -DPLLAVA_SENTENCEPIECE=OFF)
  venv=$build_dir/cmake-3.22
  step "oldest: CMake 3.22 from PyPI"
  if /usr/bin/python3 -m venv "$venv" &&
    "$venv/bin/pip" install --quiet --disable-pip-version-check --retries 1 --timeout 20 \
      'cmake==3.22.*'; then
    PATH=$venv/bin:$PATH build oldest "${oldest[@]}"
    PATH=$venv/bin:$PATH run_tests oldest -L unit
  else
    summaries+=("oldest: skipped, CMake 3.22 could not be installed from PyPI (see above)")
  fi

  build libcxx -DCMAKE_CXX_COMPILER=clang++ -DCMAKE_CXX_FLAGS=-stdlib=libc++ \
    -DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_FLAGS_DEBUG=-O0 -DBUILD_SHARED_LIBS=ON \
    -DPLLAVA_BUILD_TESTS=OFF -DPLLAVA_CUDA=OFF -DPLLAVA_SENTENCEPIECE=OFF
  "$build_dir/libcxx/examples/custom_pool" "" | grep -x "8 tokens of answer"
  summaries+=("libcxx: an example ran")

  step "fuzz: 30 s for each target"
  FUZZ_DIR=$build_dir/fuzz logged "$build_dir/fuzz.log" bash "$source_dir/tests/fuzz.sh" 30
  summaries+=("fuzz: $(grep -c 'number_of_executed_units' "$build_dir/fuzz.log") targets, nothing found")
fi

step "all passed"
printf '%s\n' "${summaries[@]}"
