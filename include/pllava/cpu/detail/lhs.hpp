// Packing of activation rows as the left operands of matrix products.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "pllava/core/view.hpp"
#include "pllava/cpu/detail/execution_context.hpp"
#include "pllava/cpu/detail/rows.hpp"
#include "pllava/cpu/kernels.hpp"

namespace pllava::cpu::detail {

/// Left operand of a matrix product: rows packed as tiles.
struct PackedLhs {
  /// The padded rows of a tile of `rows`. Tiles of one or two rows sum in another order; in larger
  /// products they are padded, so that a row's result does not depend on the number of rows.
  Index padded_rows(Index rows) const {
    return kernels->padded_rows(is_gemv ? rows : std::max<Index>(rows, 3));
  }

  const Kernels* kernels;
  bool is_gemv;     // one or two rows in total
  Index tile_rows;  // rows of a full tile
  Index tiles;
  Index tile_bytes;
  const std::byte* data;
};

/// Packs the rows of x as left operands for panels of `dtype`, padded with zeros: [k][row] in f32
/// or [k/2][row][2] in bf16.
inline PackedLhs pack_lhs(const ExecutionContext& context, ConstView x, DType dtype) {
  const Kernels& kernels = context.kernels;
  const Index M = x.rows(), K = x.cols(), depth = dtype == DType::bf16 ? round_up(K, 2) : K;
  const DType lhs_dtype = dtype == DType::bf16 ? kernels.bf16_lhs_dtype : dtype;
  const Index tile_rows = std::min(kernels.max_tile_rows, kernels.padded_rows(M));
  PackedLhs packed{
      &kernels, M <= 2, tile_rows, ceil_div(M, tile_rows), tile_rows * depth * size_of(lhs_dtype),
      nullptr};
  auto* out = static_cast<std::byte*>(context.arena.allocate(packed.tiles * packed.tile_bytes));
  packed.data = out;
  // A row of x converted to the type of the left operand.
  const auto bf16_rows = context.per_thread<bf16>(lhs_dtype == DType::bf16 ? K : 0);
  const auto f32_rows = context.per_thread<float>(lhs_dtype == DType::bf16 ? 0 : depth);
  context.pool.run(packed.tiles, [&](Index t, Index thread) {
    std::byte* tile = out + t * packed.tile_bytes;
    const Index rows = std::min(tile_rows, M - t * tile_rows);
    const Index mr = packed.padded_rows(rows);
    if (lhs_dtype == DType::bf16) {
      auto* dst = reinterpret_cast<std::uint32_t*>(tile);  // pairs
      bf16* const converted = bf16_rows[thread];
      for (Index r = 0; r < mr; ++r) {
        if (r >= rows) {
          for (Index k = 0; k < depth / 2; ++k) dst[k * mr + r] = 0;
          continue;
        }
        const bf16* src = x.as<bf16>() + (t * tile_rows + r) * K;
        if (x.dtype == DType::f32) {
          kernels.float_to_bf16(converted, x.as<float>() + (t * tile_rows + r) * K, K);
          src = converted;
        }
        for (Index k = 0; k < K / 2; ++k) std::memcpy(&dst[k * mr + r], src + 2 * k, 4);
        if (K % 2 != 0) dst[K / 2 * mr + r] = src[K - 1].bits;
      }
    } else {
      auto* dst = reinterpret_cast<float*>(tile);
      float* const row = f32_rows[thread];
      std::fill(row + K, row + depth, 0.0f);  // padding
      for (Index r = 0; r < mr; ++r) {
        if (r < rows) load_row(kernels, row, x, t * tile_rows + r);
        for (Index k = 0; k < depth; ++k) dst[k * mr + r] = r < rows ? row[k] : 0.0f;
      }
    }
  });
  return packed;
}

/// Left operand of an integer product: rows rotated and quantized to int8, packed as tiles.
struct QuantizedLhs {
  Int8Lhs tile(Index t) const {
    return {values + t * tile_rows * depth * bytes, sums + t * tile_rows * (depth / kInt8Block + 1),
            scales + t * tile_rows};
  }

  Index tile_rows;  // rows of a full tile
  Index tiles;
  Index depth;
  Index bytes;        // per value
  std::byte* values;  // per tile, as in Int8Lhs
  std::int32_t* sums;
  float* scales;
};

/// Stores row r of a tile of `rows`, with `bytes` per value: see tile_int8.
inline void store_int8_row(std::byte* tile, Index bytes, std::span<const std::int8_t> row, Index r,
                           Index rows) {
  if (bytes == 1) {
    for (std::size_t k = 0; k < row.size(); k += 4, tile += rows * 4)
      std::memcpy(tile + r * 4, &row[k], 4);
    return;
  }
  for (std::size_t k = 0; k < row.size(); k += 4, tile += rows * 8)
    for (const std::size_t odd : {0u, 1u}) {
      const std::int16_t pair[] = {row[k + odd], row[k + odd + 2]};
      std::memcpy(tile + (static_cast<Index>(odd) * rows + r) * 4, pair, 4);
    }
}

/// Rotates the rows of x, quantizes them, each with its own scale, and packs them in tiles of at
/// most `max_rows` rows with `bytes` per value.
inline QuantizedLhs quantize_lhs(const ExecutionContext& context, ConstView x, Index depth,
                                 Index max_rows, Index bytes) {
  const Kernels& kernels = context.kernels;
  const Index M = x.rows(), K = x.cols(), blocks = depth / kInt8Block;
  const Index tile_rows = std::min(max_rows, kernels.padded_rows(M));
  const Index tiles = ceil_div(M, tile_rows), padded = tiles * tile_rows;
  QuantizedLhs lhs{tile_rows,
                   tiles,
                   depth,
                   bytes,
                   static_cast<std::byte*>(context.arena.allocate(padded * depth * bytes)),
                   static_cast<std::int32_t*>(context.arena.allocate(padded * (blocks + 1) * 4)),
                   static_cast<float*>(context.arena.allocate(padded * 4))};
  const auto f32_rows = context.per_thread<float>(K);
  const auto int8_rows = context.per_thread<std::int8_t>(depth);
  context.pool.run(tiles, [&](Index t, Index thread) {
    const Index rows = std::min(tile_rows, M - t * tile_rows), mr = kernels.padded_rows(rows);
    std::byte* tile = lhs.values + t * tile_rows * depth * bytes;
    std::int32_t* sums = lhs.sums + t * tile_rows * (blocks + 1);
    float* const row = f32_rows[thread];
    const std::span<std::int8_t> int8_row(int8_rows[thread], static_cast<std::size_t>(depth));
    std::fill(int8_row.begin() + K, int8_row.end(), std::int8_t{0});  // padding
    for (Index r = 0; r < mr; ++r) {
      if (r < rows) {
        load_row(kernels, row, x, t * tile_rows + r);
        kernels.rotate(row, K);
        lhs.scales[t * tile_rows + r] = kernels.quantize_row(int8_row.data(), row, K);
      } else {
        std::fill(int8_row.begin(), int8_row.end(), std::int8_t{0});
        lhs.scales[t * tile_rows + r] = 0;
      }
      store_int8_row(tile, bytes, int8_row, r, mr);
      std::int32_t row_sum = 0;
      for (Index b = 0; b < blocks; ++b) {
        std::int32_t low = 0, high = 0;
        const std::int8_t* quad = &int8_row[static_cast<std::size_t>(b * kInt8Block)];
        for (Index i = 0; i < kInt8Block / 4; ++i, quad += 4)
          low += quad[0] + quad[1], high += quad[2] + quad[3];
        sums[b * mr + r] = (low & 0xffff) | high * 0x10000;
        row_sum += low + high;
      }
      sums[blocks * mr + r] = row_sum;
    }
  });
  return lhs;
}

}  // namespace pllava::cpu::detail
