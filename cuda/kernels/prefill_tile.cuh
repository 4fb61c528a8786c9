// Tiles of queries, keys and values in shared memory, for attention on tensor cores.
#pragma once

#include <type_traits>

#include "attention_rows.cuh"

namespace pllava::cuda::kernels {

constexpr int kPrefillThreads = 128;
constexpr int kPrefillWarps = kPrefillThreads / kWarp;
constexpr int kMmaRows = 16;                         // of a and d of mma_16x8x16(), and its depth
constexpr int kMmaColumns = 8;                       // of b and d
constexpr int kTileRows = kPrefillWarps * kMmaRows;  // queries of a block; keys of a tile
static_assert(kTileRows % (2 * kMmaColumns) == 0 && kTileRows % kMmaRows == 0,
              "the scores of a warp are whole fragments, as columns and as depth");

/// Layout of kTileRows rows of D 16-bit values, in chunks of 8. The chunks of a row are swizzled or
/// padded, so that 8 rows of one chunk are in different banks.
template <int D>
struct Tile {
  static_assert(D % kMmaRows == 0, "ldmatrix reads two chunks of a row at a time");
  static constexpr int chunks = D / 8;
  static constexpr bool swizzled = chunks % 8 == 0;
  static constexpr int stride = swizzled ? chunks : chunks | 1;
  static constexpr int size = kTileRows * stride * 8;

  /// Index of the first value of a chunk.
  static PLLAVA_DEVICE int at(int row, int chunk) {
    return (row * stride + (swizzled ? chunk ^ (row & 7) : chunk)) * 8;
  }
};

/// Dynamic shared memory of a block: two stages of a key tile and a value tile.
template <int D>
constexpr int kPrefillSharedBytes = 4 * Tile<D>::size * 2;

/// Starts asynchronous copies of the rows from `begin` on; rows at or after `end` become zeros.
template <class T, int D>
PLLAVA_DEVICE void load_tile_async(T* tile, const HeadRows<T>& rows, int begin, int end,
                                   int head_dim) {
  constexpr int chunks = Tile<D>::chunks;
  static_assert(kTileRows * chunks % kPrefillThreads == 0);
  constexpr bool fixed_chunk = kPrefillThreads % chunks == 0;  // each thread copies one column
  const int thread = static_cast<int>(threadIdx.x);
  PLLAVA_UNROLL
  for (int i = 0; i < kTileRows * chunks / kPrefillThreads; ++i) {
    const int at = i * kPrefillThreads + thread;
    const int row = fixed_chunk ? i * (kPrefillThreads / chunks) + thread / chunks : at / chunks;
    const int chunk = fixed_chunk ? thread % chunks : at % chunks;
    const bool valid = begin + row < end && chunk * 8 < head_dim;
    const T* const from = rows.at(min(begin + row, end - 1)) + min(chunk * 8, head_dim - 8);
    copy_async(tile + Tile<D>::at(row, chunk), from, valid);
  }
}

/// Loads the rows from `begin` on through registers, after RoPE unless `rope` (the table of all
/// positions) is null; rows at or after `end` become zeros.
template <class T, int D, bool vectorized, class Rows>
PLLAVA_DEVICE void load_tile_converted(T* tile, const Rows& rows, int begin, int end, int head_dim,
                                       const float* rope) {
  constexpr int chunks = Tile<D>::chunks;
  for (int at = static_cast<int>(threadIdx.x); at < kTileRows * chunks; at += kPrefillThreads) {
    const int row = at / chunks, chunk = at % chunks, p = begin + row;
    const float* const rope_of_row = rope != nullptr ? rope + std::int64_t{p} * head_dim : nullptr;
    *reinterpret_cast<Words*>(tile + Tile<D>::at(row, chunk)) =
        p < end ? load_kv_words(rows, p, chunk * 8, head_dim, rope_of_row, vectorized) : Words{};
  }
}

/// Loads a tile of keys or values. Vectorized rows of T have no `rope`: see prefill_attention().
template <class T, int D, bool vectorized, class Rows>
PLLAVA_DEVICE void load_tile(T* tile, const Rows& rows, int begin, int end, int head_dim,
                             const float* rope) {
  if constexpr (vectorized && std::is_same_v<Rows, HeadRows<T>>)
    load_tile_async<T, D>(tile, rows, begin, end, head_dim);
  else
    load_tile_converted<T, D, vectorized>(tile, rows, begin, end, head_dim, rope);
}

}  // namespace pllava::cuda::kernels
