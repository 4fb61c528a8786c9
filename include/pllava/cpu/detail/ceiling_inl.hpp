// Implementation of cpu/ceiling.hpp.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <vector>

#include "pllava/core/stopwatch.hpp"
#include "pllava/cpu/ceiling.hpp"

namespace pllava::cpu {

namespace detail {

/// Operations per second of `tile(c)`, a product of (rows, depth) with (depth, kPanelWidth), on all
/// threads.
template <class Tile>
double peak_tile_ops(Backend& be, Index rows, Index depth, const Tile& tile) {
  constexpr Index kRepeats = 10'000;
  std::atomic<float> sink = 0;  // keeps the compiler from removing the products
  Stopwatch watch;
  be.pool().run(be.pool().size(), [&](Index) {
    alignas(64) float c[kMaxTileRows * kPanelWidth] = {};
    for (Index i = 0; i < kRepeats; ++i) tile(c);
    sink = c[0];
  });
  const Index operations = 2 * depth * rows * kPanelWidth * kRepeats * be.pool().size();
  return static_cast<double>(operations) / (watch.lap() / 1e3);
}

/// Zero operands of integer tiles of `rows` and `depth`.
struct IntegerOperands {
  static constexpr Index kGroup = 32;

  IntegerOperands(Index rows, Index depth)
      : lhs_values(static_cast<std::size_t>(rows * depth)),
        lhs_sums(static_cast<std::size_t>((depth / kInt8Block + 1) * rows)),
        lhs_scales(static_cast<std::size_t>(rows)),
        rhs_values(static_cast<std::size_t>(depth * kPanelWidth)),
        group_scales(static_cast<std::size_t>(depth / kGroup * kPanelWidth)),
        channel_scales(static_cast<std::size_t>(kPanelWidth)) {}
  Int8Lhs lhs() const { return {lhs_values.data(), lhs_sums.data(), lhs_scales.data()}; }
  QuantizedPanel rhs() const {
    return {rhs_values.data(), group_scales.data(), nullptr, channel_scales.data()};
  }

  std::vector<std::int16_t> lhs_values;  // 16 bits: the larger of both element types
  std::vector<std::int32_t> lhs_sums;
  std::vector<float> lhs_scales;
  std::vector<std::uint8_t> rhs_values, group_scales;
  std::vector<float> channel_scales;
};

}  // namespace detail

PLLAVA_INLINE double peak_flops(Backend& be) {
  const Kernels& k = kernels(detect_isa(be.options().isa));
  constexpr Index kDepth = 256;
  const Index rows = k.max_tile_rows;
  const std::vector<float> a(static_cast<std::size_t>(kDepth * rows)), b(kDepth * kPanelWidth);
  if (be.activation_dtype() == DType::f32)
    return detail::peak_tile_ops(
        be, rows, kDepth, [&](float* c) { k.tile_f32(rows, a.data(), rows, b.data(), kDepth, c); });
  return detail::peak_tile_ops(be, rows, kDepth, [&](float* c) {
    k.tile_bf16(rows, a.data(), rows, reinterpret_cast<const bf16*>(b.data()), kDepth / 2, c);
  });
}

PLLAVA_INLINE double peak_int8_ops(Backend& be) {
  const Kernels& k = kernels(detect_isa(be.options().isa));
  constexpr Index kDepth = 512;
  const detail::IntegerOperands operands(k.max_tile_rows, kDepth);
  return detail::peak_tile_ops(be, k.max_tile_rows, kDepth, [&](float* c) {
    k.tile_int8(k.max_tile_rows, operands.lhs(), operands.rhs(), kDepth / 4, c);
  });
}

PLLAVA_INLINE double peak_int4_ops(Backend& be) {
  const Kernels& k = kernels(detect_isa(be.options().isa));
  if (!k.prefers_int4_tiles) return peak_int8_ops(be);
  constexpr Index kDepth = 1024;
  const detail::IntegerOperands operands(kMaxInt4TileRows, kDepth);
  return detail::peak_tile_ops(be, kMaxInt4TileRows, kDepth, [&](float* c) {
    k.tile_int4(kMaxInt4TileRows, operands.lhs(), operands.rhs(), kDepth / 4, operands.kGroup, c);
  });
}

PLLAVA_INLINE double read_bandwidth(Backend& be) {
  constexpr Index kWords = Index{1} << 26;  // 512 MiB, larger than any cache
  static const auto memory = [] {
    auto m = aligned_memory(kWords * 8, "the bandwidth probe");
    std::fill_n(static_cast<std::uint64_t*>(m.get()), kWords, 1);
    return m;
  }();
  const auto* words = static_cast<const std::uint64_t*>(memory.get());
  constexpr Index kTaskWords = Index{1} << 17;  // 1 MiB
  constexpr Index kSums = 32;  // independent sums, so that loads are not serialized
  static_assert(kWords % kTaskWords == 0 && kTaskWords % kSums == 0);
  std::atomic<std::uint64_t> sink = 0;
  Stopwatch watch;
  be.pool().run(kWords / kTaskWords, [&](Index task) {
    std::uint64_t sums[kSums] = {};
    for (Index i = task * kTaskWords; i < (task + 1) * kTaskWords; i += kSums)
      for (Index j = 0; j < kSums; ++j) sums[j] += words[i + j];
    sink += *std::max_element(sums, sums + kSums);
  });
  return static_cast<double>(kWords * 8) / (watch.lap() / 1e3);
}

}  // namespace pllava::cpu
