// Matrix products of activations and packed weights, with an epilogue for each tile.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "pllava/cpu/detail/execution_context.hpp"
#include "pllava/cpu/detail/lhs.hpp"
#include "pllava/cpu/detail/quantized_panels.hpp"
#include "pllava/cpu/kernels.hpp"
#include "pllava/cpu/weight.hpp"

namespace pllava::cpu::detail {

/// Panels of one task of a matrix product.
inline constexpr Index kTaskPanels = 2;

/// matmul for int8 and int4. Tiles of few rows multiply int4 panels directly. For more rows each
/// int4 panel is unpacked to int8 once, unless the int4 kernel is faster.
template <class Epilogue>
void matmul_quantized(const ExecutionContext& context, ConstView x, const Weight& w,
                      Index num_panels, const Epilogue& epilogue) {
  const Kernels& kernels = context.kernels;
  const StackArena::Scope scope(context.arena);
  const QuantizedPanelLayout layout(w.quantization, w.cols, num_panels);
  const Index depth = layout.depth, quads = depth / 4;
  const Index M = x.rows(), group = w.quantization.group;
  const bool is_int4 = w.quantization.format == WeightFormat::int4;
  const bool unpack =
      is_int4 && !kernels.prefers_int4_tiles && kernels.padded_rows(M) > kMaxInt4TileRows;
  const QuantizedLhs a = is_int4 && !unpack ? quantize_lhs(context, x, depth, kMaxInt4TileRows, 1)
                                            : quantize_lhs(context, x, depth, kernels.max_tile_rows,
                                                           kernels.int8_lhs_bytes);
  const Index panel_values = kPanelWidth * depth;
  const auto unpacked_panels =
      context.per_thread<std::uint8_t>(unpack ? kTaskPanels * panel_values : 0);
  context.pool.run(ceil_div(num_panels, kTaskPanels), [&](Index task, Index thread) {
    alignas(64) float tile[kMaxTileRows * kPanelWidth];
    const Index first = task * kTaskPanels, end = std::min(num_panels, first + kTaskPanels);
    std::uint8_t* const unpacked = unpacked_panels[thread];
    if (unpack)
      for (Index p = first; p < end; ++p)
        kernels.unpack_int4(unpacked + (p - first) * panel_values, layout.panel(w.data.get(), p),
                            quads, group);
    for (Index t = 0; t < a.tiles; ++t) {
      const Index rows = std::min(a.tile_rows, M - t * a.tile_rows);
      const Index mr = kernels.padded_rows(rows);
      const Int8Lhs left = a.tile(t);
      for (Index p = first; p < end; ++p) {
        QuantizedPanel right = layout.panel(w.data.get(), p);
        if (unpack) right.values = unpacked + (p - first) * panel_values;
        if (is_int4 && !unpack)
          kernels.tile_int4(mr, left, right, quads, group, tile);
        else
          kernels.tile_int8(mr, left, right, quads, tile);
        epilogue(t * a.tile_rows, rows, p, tile);
      }
    }
  });
}

/// Computes x · Wᵀ tile by tile and calls epilogue(first row, rows, panel, tile) with each tile of
/// 32 columns. A task is kTaskPanels panels over all rows: they stay in the L2 cache while the
/// tiles of x are streamed, and each tile is read once for all of them.
template <class Epilogue>
void matmul(const ExecutionContext& context, ConstView x, const Weight& w, Index num_panels,
            const Epilogue& epilogue) {
  if (w.quantization.format != WeightFormat::unquantized)
    return matmul_quantized(context, x, w, num_panels, epilogue);
  const Kernels& kernels = context.kernels;
  const StackArena::Scope scope(context.arena);
  const PackedLhs a = pack_lhs(context, x, w.dtype);
  const Index M = x.rows(), K = w.cols;
  const bool pairs = w.dtype == DType::bf16;
  const Index depth = pairs ? round_up(K, 2) : K;
  context.pool.run(ceil_div(num_panels, kTaskPanels), [&](Index task) {
    alignas(64) float tile[kMaxTileRows * kPanelWidth];
    for (Index t = 0; t < a.tiles; ++t) {
      const Index rows = std::min(a.tile_rows, M - t * a.tile_rows);
      const Index mr = a.padded_rows(rows);
      const std::byte* left = a.data + t * a.tile_bytes;
      for (Index p = task * kTaskPanels; p < std::min(num_panels, (task + 1) * kTaskPanels); ++p) {
        if (pairs)
          kernels.tile_bf16(mr, left, mr,
                            static_cast<const bf16*>(w.data.get()) + p * kPanelWidth * depth,
                            depth / 2, tile);
        else
          kernels.tile_f32(mr, reinterpret_cast<const float*>(left), mr,
                           static_cast<const float*>(w.data.get()) + p * kPanelWidth * depth, depth,
                           tile);
        epilogue(t * a.tile_rows, rows, p, tile);
      }
    }
  });
}

}  // namespace pllava::cpu::detail
