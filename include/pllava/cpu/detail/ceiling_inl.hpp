// Probes of the machine.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <vector>

#include "pllava/core/stopwatch.hpp"
#include "pllava/cpu/ceiling.hpp"

namespace pllava::cpu {

namespace detail {

/// Operations a second of `tile(out)`, a product of `rows` and `depth`, on all threads.
template <class Tile>
double peak_of(Backend& be, Index rows, Index depth, const Tile& tile) {
  constexpr Index kRepeats = 10'000;
  std::atomic<float> kept = 0;  // so that nothing is left out as unused
  Stopwatch watch;
  be.pool().run(be.pool().size(), [&](Index) {
    std::vector<float> c(static_cast<std::size_t>(rows * kPanel));
    for (Index i = 0; i < kRepeats; ++i) tile(c.data());
    kept = c[0];
  });
  const Index operations = 2 * depth * rows * kPanel * kRepeats * be.pool().size();
  return static_cast<double>(operations) / (watch.lap() / 1e3);
}

}  // namespace detail

PLLAVA_INLINE double peak_flops(Backend& be) {
  const Kernels& k = kernels(detect_isa(be.options().isa));
  constexpr Index kDepth = 256;
  const std::vector<float> a(static_cast<std::size_t>(kDepth * k.max_rows)), b(kDepth * kPanel);
  if (be.activation_dtype() == DType::f32)
    return detail::peak_of(be, k.max_rows, kDepth, [&](float* c) {
      k.tile_f32(k.max_rows, a.data(), k.max_rows, b.data(), kDepth, c);
    });
  return detail::peak_of(be, k.max_rows, kDepth, [&](float* c) {
    k.tile_bf16(k.max_rows, a.data(), k.max_rows, reinterpret_cast<const bf16*>(b.data()),
                kDepth / 2, c);
  });
}

PLLAVA_INLINE double peak_integers(Backend& be) {
  const Kernels& k = kernels(detect_isa(be.options().isa));
  constexpr Index kDepth = 512;
  const auto rows = static_cast<std::size_t>(k.max_rows);
  const std::vector<std::int16_t> a(kDepth * rows);
  const std::vector<std::int32_t> sums((kDepth / 32 + 1) * rows);
  const std::vector<std::uint8_t> b(kDepth * kPanel);
  const std::vector<float> scales(std::max<std::size_t>(rows, kPanel));
  const Int8Rows left{a.data(), sums.data(), scales.data()};
  const IntegerPanel right{b.data(), nullptr, nullptr, scales.data()};
  return detail::peak_of(be, k.max_rows, kDepth,
                         [&](float* c) { k.tile_int8(k.max_rows, left, right, kDepth / 4, c); });
}

PLLAVA_INLINE double peak_nibbles(Backend& be) {
  const Kernels& k = kernels(detect_isa(be.options().isa));
  if (!k.fast_int4) return peak_integers(be);
  constexpr Index kDepth = 1024, kGroup = 32;
  constexpr auto rows = static_cast<std::size_t>(kInt4Rows);
  const std::vector<std::int8_t> a(kDepth * rows);
  const std::vector<std::int32_t> sums((kDepth / 32 + 1) * rows);
  const std::vector<std::uint8_t> b(kDepth / 2 * kPanel), multipliers(kDepth / kGroup * kPanel);
  const std::vector<float> scales(std::max<std::size_t>(rows, kPanel));
  const Int8Rows left{a.data(), sums.data(), scales.data()};
  const IntegerPanel right{b.data(), multipliers.data(), nullptr, scales.data()};
  return detail::peak_of(be, kInt4Rows, kDepth, [&](float* c) {
    k.tile_int4(kInt4Rows, left, right, kDepth / 4, kGroup, c);
  });
}

PLLAVA_INLINE double read_bandwidth(Backend& be) {
  constexpr Index kWords = Index{1} << 26;  // 512 MiB, beyond any cache
  static const auto memory = [] {
    auto m = aligned_memory(kWords * 8, "the bandwidth probe");
    std::fill_n(static_cast<std::uint64_t*>(m.get()), kWords, 1);
    return m;
  }();
  const auto* words = static_cast<const std::uint64_t*>(memory.get());
  constexpr Index kTask = Index{1} << 17;  // 1 MiB
  std::atomic<std::uint64_t> kept = 0;
  Stopwatch watch;
  be.pool().run(kWords / kTask, [&](Index t) {
    std::uint64_t sum[32] = {};
    for (Index i = t * kTask; i < (t + 1) * kTask; i += 32)
      for (Index j = 0; j < 32; ++j) sum[j] += words[i + j];
    kept += *std::max_element(sum, sum + 32);
  });
  return static_cast<double>(kWords * 8) / (watch.lap() / 1e3);
}

}  // namespace pllava::cpu
