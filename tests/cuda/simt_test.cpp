// The executor that runs kernels on the CPU, and the warp operations.
#include "support/simt.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "mma.cuh"
#include "simt.cuh"
#include "support/catch.hpp"

namespace {

using namespace pllava::cuda::kernels;

/// Runs threads in descending order until its destruction.
struct DescendingOrder {
  DescendingOrder() { simt::order = simt::Order::descending; }
  DescendingOrder(const DescendingOrder&) = delete;
  DescendingOrder& operator=(const DescendingOrder&) = delete;
  ~DescendingOrder() { simt::order = simt::Order::ascending; }
};

TEST_CASE("Every thread of every block runs once with its indices", "[simt]") {
  std::vector<int> runs(3 * 2 * 4 * 70);
  simt::run({3, 2, 4}, 70, 0, [&] {
    CHECK(gridDim.x == 3);
    CHECK(blockDim.x == 70);
    const unsigned block = (blockIdx.z * 2 + blockIdx.y) * 3 + blockIdx.x;
    ++runs[block * 70 + threadIdx.x];
  });
  CHECK(std::count(runs.begin(), runs.end(), 1) == static_cast<std::ptrdiff_t>(runs.size()));
  simt::run({0, 1, 1}, 32, 0, [&] { ++runs[0]; });
  CHECK(runs[0] == 1);
}

TEST_CASE("Descending order reverses the threads", "[simt]") {
  std::vector<unsigned> seen;
  const auto body = [&] { seen.push_back(threadIdx.x); };
  simt::run({1, 1, 1}, 40, 0, body);
  CHECK(std::is_sorted(seen.begin(), seen.end()));
  seen.clear();
  const DescendingOrder descending;
  simt::run({1, 1, 1}, 40, 0, body);
  CHECK(std::is_sorted(seen.rbegin(), seen.rend()));
}

PLLAVA_KERNEL(1024, 1) sum_blocks(float* out, const float* in) {
  PLLAVA_SHARED float shared[kWarp];
  const float sum = block_sum(in[blockIdx.x * blockDim.x + threadIdx.x], shared);
  out[blockIdx.x * blockDim.x + threadIdx.x] = sum;
}

PLLAVA_KERNEL(1024, 1) reverse_block(int* data) {
  PLLAVA_DYNAMIC_SHARED(memory);
  int* const shared = reinterpret_cast<int*>(memory);
  const unsigned n = blockDim.x, i = threadIdx.x;
  for (int round = 0; round < 3; ++round) {
    shared[i] = data[i];
    __syncthreads();
    data[i] = shared[n - 1 - i];
    __syncthreads();
  }
}

TEST_CASE("A block reduces and exchanges values in shared memory", "[simt]") {
  for (const int threads : {32, 128, 1024}) {
    std::vector<float> in(static_cast<std::size_t>(3 * threads)), out(in.size());
    std::iota(in.begin(), in.end(), 1.0f);
    REQUIRE(launch(sum_blocks, {3}, threads, 0, nullptr, out.data(), in.data()) == 0);
    for (std::size_t block = 0; block < 3; ++block) {
      const auto n = static_cast<std::size_t>(threads);
      const float sum =
          std::accumulate(in.begin() + static_cast<std::ptrdiff_t>(block * n),
                          in.begin() + static_cast<std::ptrdiff_t>((block + 1) * n), 0.0f);
      for (std::size_t i = 0; i < n; ++i) REQUIRE(out[block * n + i] == sum);
    }
    std::vector<int> data(static_cast<std::size_t>(threads));
    std::iota(data.begin(), data.end(), 0);
    launch(reverse_block, {}, threads, threads * 4, nullptr, data.data());
    CHECK(std::is_sorted(data.rbegin(), data.rend()));
  }
}

TEST_CASE("A recorded launch runs when it is replayed", "[simt]") {
  std::vector<int> data(32);
  std::iota(data.begin(), data.end(), 0);
  std::vector<std::function<void()>> record;
  simt::recording = &record;
  launch(reverse_block, {}, 32, 32 * 4, nullptr, data.data());
  simt::recording = nullptr;
  CHECK(std::is_sorted(data.begin(), data.end()));
  REQUIRE(record.size() == 1);
  record[0]();
  CHECK(std::is_sorted(data.rbegin(), data.rend()));
  record[0]();
  CHECK(std::is_sorted(data.begin(), data.end()));
}

TEST_CASE("Shuffles match CUDA", "[simt]") {
  simt::run({1, 1, 1}, 96, 0, [] {
    const int lane = static_cast<int>(threadIdx.x) % 32,
              base = static_cast<int>(threadIdx.x) - lane;
    const int mine = base * 100 + lane, all = base * 100;
    CHECK(__shfl_sync(0xffffffffu, mine, 5) == all + 5);
    CHECK(__shfl_sync(0xffffffffu, mine, lane + 1) == all + (lane + 1) % 32);
    CHECK(__shfl_sync(0xffffffffu, mine, 3, 8) == all + lane / 8 * 8 + 3);
    CHECK(__shfl_xor_sync(0xffffffffu, mine, 16) == all + (lane ^ 16));
    CHECK(__shfl_xor_sync(0xffffffffu, static_cast<float>(lane), 3) ==
          static_cast<float>(lane ^ 3));
    CHECK(__shfl_down_sync(0xffffffffu, mine, 4) == all + (lane < 28 ? lane + 4 : lane));
    CHECK(__shfl_down_sync(0xffffffffu, mine, 1, 4) == all + (lane % 4 < 3 ? lane + 1 : lane));
    CHECK(__shfl_up_sync(0xffffffffu, mine, 2) == all + (lane >= 2 ? lane - 2 : lane));
    CHECK(__shfl_sync(0xffffffffu, static_cast<unsigned>(mine), 0) == static_cast<unsigned>(all));
    CHECK(warp_sum(1.0f) == 32.0f);
    CHECK(warp_max(static_cast<float>(-lane)) == 0.0f);
  });
}

TEST_CASE("Barriers do not wait for threads that have ended", "[simt]") {
  int sum = 0;
  const auto body = [&] {
    if (threadIdx.x % 2 == 1 || threadIdx.x >= 50) return;
    __syncthreads();
    const float next = __shfl_down_sync(0xffffffffu, 1.0f, 1);  // from a lane that has ended
    CHECK(next != next);
    __syncwarp();
    CHECK(__shfl_xor_sync(0xffffffffu, 7, 2) == (threadIdx.x == 48 ? -1 : 7));
    __syncthreads();
    atomicAdd(&sum, 1);
  };
  simt::run({2, 1, 1}, 100, 0, body);
  const DescendingOrder descending;
  simt::run({2, 1, 1}, 100, 0, body);
  CHECK(sum == 2 * 2 * 25);
}

/// The message of the error that running `body` in a block throws; empty if none.
template <class Body>
std::string message_of(const Body& body) {
  try {
    simt::run({1, 1, 1}, 64, 0, body);
  } catch (const std::logic_error& e) {
    return e.what();
  }
  return {};
}

TEST_CASE("Divergent barriers and nested launches throw", "[simt]") {
  const auto divergent = [] {
    if (threadIdx.x == 3) {
      __syncwarp();
    } else {
      __syncthreads();
    }
  };
  const auto different = [] {
    if (threadIdx.x < 3) {
      __syncwarp();
    } else {
      warp_sum(1.0f);
    }
  };
  const auto thrown = [] {
    __syncthreads();
    if (threadIdx.x == 3) throw std::runtime_error("thrown by the body");
    __syncthreads();
  };
  const auto nested = [] { simt::run({1, 1, 1}, 1, 0, [] {}); };
  for (int again = 0; again < 2; ++again) {
    CHECK(message_of(divergent).find("deadlock") != std::string::npos);
    CHECK(message_of(different).find("different") != std::string::npos);
    CHECK_THROWS_AS(simt::run({1, 1, 1}, 64, 0, thrown), std::runtime_error);
    CHECK_THROWS_AS(simt::run({1, 1, 1}, 64, 0, nested), std::logic_error);
    CHECK_THROWS_AS(simt::run({1, 1, 1}, 1025, 0, [] {}), std::logic_error);
    int ran = 0;
    simt::run({2, 1, 1}, 64, 0, [&] {
      __syncthreads();
      ++ran;
    });
    CHECK(ran == 128);
  }
}

TEST_CASE("Shared memory starts as NaN and has a guard", "[simt]") {
  for (const std::size_t bytes : {0u, 4u, 20u, 4096u}) {
    simt::run({3, 1, 1}, 1, bytes, [&] {
      unsigned char* const shared = simt::dynamic_shared();
      CHECK(reinterpret_cast<std::uintptr_t>(shared) % 128 == 0);
      CHECK(std::count(shared, shared + bytes, 0xff) == static_cast<std::ptrdiff_t>(bytes));
      std::fill(shared, shared + bytes, static_cast<unsigned char>(1));
    });
    CHECK_THROWS_AS(simt::run({1, 1, 1}, 1, bytes, [&] { simt::dynamic_shared()[bytes] = 0; }),
                    std::logic_error);
  }
}

TEST_CASE("Asynchronous copies complete at wait_async", "[simt]") {
  alignas(16) static const float source[12] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
  simt::run({1, 1, 1}, 32, 64 * 32, [] {
    float* const mine = reinterpret_cast<float*>(simt::dynamic_shared()) + threadIdx.x * 16;
    std::fill_n(mine, 16, 0.5f);
    copy_async(mine, source, true);
    commit_async();
    copy_async(mine + 4, source + 4, true);
    copy_async(mine + 8, source + 8, false);
    commit_async();
    copy_async(mine + 12, source + 8, true);
    CHECK(std::isnan(mine[0]));
    wait_async<1>();
    CHECK(mine[3] == 4);
    CHECK(std::isnan(mine[4]));
    wait_async<0>();
    CHECK(mine[7] == 8);
    CHECK(mine[8] == 0);
    CHECK(std::isnan(mine[12]));
    commit_async();
    wait_async<0>();
    CHECK(mine[12] == 9);
  });
  CHECK_THROWS_AS(
      simt::run({1, 1, 1}, 1, 64, [] { copy_async(simt::dynamic_shared() + 8, source, true); }),
      std::logic_error);
}

template <class T>
std::uint16_t bits(float x) {
  return from_float<T>(x).bits;
}

/// c = a * b for a (16, 16) and c (16, 8), row-major; b (16, 8) is given as its columns (8, 16).
template <class T>
void multiply_once(float* c, const T* a, const T* columns) {
  const unsigned lane = threadIdx.x, g = lane / 4, t = lane % 4 * 2;
  const auto pair = [](const T* p) {
    return p[0].bits | static_cast<std::uint32_t>(p[1].bits) << 16;
  };
  const std::uint32_t left[4] = {pair(a + g * 16 + t), pair(a + (g + 8) * 16 + t),
                                 pair(a + g * 16 + t + 8), pair(a + (g + 8) * 16 + t + 8)};
  const std::uint32_t right[2] = {pair(columns + g * 16 + t), pair(columns + g * 16 + t + 8)};
  float d[4] = {1, 2, 3, 4};
  mma_16x8x16<T>(d, left, right);
  c[g * 8 + t] = d[0] - 1;
  c[g * 8 + t + 1] = d[1] - 2;
  c[(g + 8) * 8 + t] = d[2] - 3;
  c[(g + 8) * 8 + t + 1] = d[3] - 4;
}

template <class T>
void check_multiply() {
  T a[16 * 16], columns[8 * 16];
  std::mt19937 random(7);
  std::uniform_int_distribution<int> small(-8, 8);  // exact in every type
  for (T& x : a) x = from_float<T>(static_cast<float>(small(random)));
  for (T& x : columns) x = from_float<T>(static_cast<float>(small(random)));
  float c[16 * 8];
  simt::run({1, 1, 1}, 32, 0, [&] { multiply_once(c, a, columns); });
  for (int m = 0; m < 16; ++m)
    for (int n = 0; n < 8; ++n) {
      float sum = 0;
      for (int k = 0; k < 16; ++k) sum += to_float(a[m * 16 + k]) * to_float(columns[n * 16 + k]);
      REQUIRE(c[m * 8 + n] == sum);
    }
}

TEST_CASE("mma_16x8x16 matches the product of matrices", "[simt]") {
  check_multiply<bf16>();
  check_multiply<f16>();
}

TEST_CASE("load_matrices loads plain and transposed matrices", "[simt]") {
  simt::run({1, 1, 1}, 32, 32 * 16, [] {
    const auto shared = reinterpret_cast<std::uint16_t*>(simt::dynamic_shared());
    for (unsigned j = 0; j < 8; ++j)
      shared[threadIdx.x * 8 + j] = static_cast<std::uint16_t>(threadIdx.x * 8 + j);
    __syncwarp();
    const unsigned g = threadIdx.x / 4, t = threadIdx.x % 4 * 2;
    std::uint32_t r[4];
    load_matrices(r, shared + threadIdx.x * 8);
    for (unsigned j = 0; j < 4; ++j) {
      CHECK((r[j] & 0xffff) == (j * 8 + g) * 8 + t);
      CHECK(r[j] >> 16 == (j * 8 + g) * 8 + t + 1);
    }
    load_matrices_transposed(r, shared + threadIdx.x * 8);
    for (unsigned j = 0; j < 4; ++j) {
      CHECK((r[j] & 0xffff) == (j * 8 + t) * 8 + g);
      CHECK(r[j] >> 16 == (j * 8 + t + 1) * 8 + g);
    }
  });
  CHECK_THROWS_AS(simt::run({1, 1, 1}, 32, 1024,
                            [] {
                              std::uint32_t r[4];
                              load_matrices(r, simt::dynamic_shared() + 2);
                            }),
                  std::logic_error);
}

TEST_CASE("16-bit floats convert to float and back exactly", "[simt]") {
  for (std::uint32_t i = 0; i < 65536; ++i) {
    const auto x = static_cast<std::uint16_t>(i);
    const float half = to_float(f16{x}), brain = to_float(bf16{x});
    const bool half_nan = (x & 0x7fff) > 0x7c00, brain_nan = (x & 0x7fff) > 0x7f80;
    REQUIRE(std::isnan(half) == half_nan);
    REQUIRE(std::isnan(brain) == brain_nan);
    REQUIRE(bits<f16>(half) == (half_nan ? x | 0x200 : x));
    REQUIRE(bits<bf16>(brain) == (brain_nan ? x | 0x40 : x));
    if (half_nan || (x & 0x7c00) == 0x7c00) continue;
    const int exponent = (x >> 10) & 31, fraction = x & 1023;
    const double value =
        exponent > 0 ? std::ldexp(1024 + fraction, exponent - 25) : std::ldexp(fraction, -24);
    REQUIRE(half == static_cast<float>((x & 0x8000) != 0 ? -value : value));
  }
}

/// Checks values just below, at and just above the midpoint of every two neighbors.
template <class T>
void check_rounding(std::uint16_t infinity) {
  for (std::uint32_t i = 0; i + 1 < infinity; ++i) {
    const auto x = static_cast<std::uint16_t>(i), next = static_cast<std::uint16_t>(i + 1);
    const float low = to_float(T{x}), high = to_float(T{next});
    const float midpoint = static_cast<float>((double{low} + double{high}) / 2);
    const std::uint16_t even = i % 2 == 0 ? x : next;
    REQUIRE(bits<T>(midpoint) == even);
    REQUIRE(bits<T>(std::nextafter(midpoint, 0.0f)) == x);
    REQUIRE(bits<T>(std::nextafter(midpoint, high)) == next);
    REQUIRE(bits<T>(-midpoint) == (even | 0x8000));
  }
}

TEST_CASE("Conversion to 16-bit floats rounds to nearest, ties to even", "[simt]") {
  check_rounding<f16>(0x7c00);
  check_rounding<bf16>(0x7f80);
  CHECK(bits<f16>(65519.99f) == 0x7bff);
  CHECK(bits<f16>(65520.0f) == 0x7c00);
  CHECK(bits<f16>(1e30f) == 0x7c00);
  CHECK(bits<f16>(1e-30f) == 0);
  CHECK(bits<f16>(-0.0f) == 0x8000);
  CHECK(bits<bf16>(std::numeric_limits<float>::max()) == 0x7f80);
  CHECK(bits<bf16>(-std::numeric_limits<float>::infinity()) == 0xff80);
}

}  // namespace
