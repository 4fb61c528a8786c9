// Online softmax of a warp's 16 query rows over one tile of keys and values, on tensor cores.
//
// Fragments are those of mma_16x8x16(): lane 4 * g + t holds rows g and g + 8 of the warp, whose
// values are at indices 0, 1 and 2, 3 of each fragment.
#pragma once

#include "prefill_block.cuh"
#include "prefill_tile.cuh"

namespace pllava::cuda::kernels {

constexpr int kScoreFragments = kTileRows / kMmaColumns;

/// Output, running max of the unscaled scores and running sum of this lane's two rows.
template <int D>
struct PrefillState {
  float o[D / kMmaColumns][4] = {};
  float max[2] = {-INFINITY, -INFINITY}, sum[2] = {0.0f, 0.0f};
};

/// d0 += a * b0, d1 += a * b1, where b holds b0 and b1 as load_matrices() returns them.
template <class T>
PLLAVA_DEVICE void mma_16x16x16(float (&d0)[4], float (&d1)[4], const std::uint32_t (&a)[4],
                                const std::uint32_t (&b)[4]) {
  const std::uint32_t b0[2] = {b[0], b[1]}, b1[2] = {b[2], b[3]};
  mma_16x8x16<T>(d0, a, b0);
  mma_16x8x16<T>(d1, a, b1);
}

/// Loads the queries of the block into fragments, by way of a tile in shared memory. Has a barrier.
template <class T, int D, bool vectorized, bool int8_cache>
PLLAVA_DEVICE void load_queries(std::uint32_t (&q)[D / kMmaRows][4], T* tile,
                                const Attention& params, const QueryBlock& block) {
  using Layout = Tile<D>;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const HeadRows<T> queries = query_rows<T, int8_cache>(params, block.sequence, block.head);
  for (int at = static_cast<int>(threadIdx.x); at < kTileRows * Layout::chunks;
       at += kPrefillThreads) {
    const int row = at / Layout::chunks, chunk = at % Layout::chunks;
    const int m = block.first + row, position = block.past + block.skipped + m;
    *reinterpret_cast<Words*>(tile + Layout::at(row, chunk)) =
        m < params.output_rows
            ? load_row_words(queries.at(m), chunk * 8, params.head_dim,
                             query_rope_row<int8_cache>(params, position), vectorized)
            : Words{};
  }
  __syncthreads();
  PLLAVA_UNROLL
  for (int k = 0; k < D / kMmaRows; ++k)
    load_matrices(q[k], tile + Layout::at(warp * kMmaRows + lane % 16, 2 * k + lane / 16));
}

/// scores += q * keys^T
template <class T, int D>
PLLAVA_DEVICE void compute_qk(float (&scores)[kScoreFragments][4],
                              const std::uint32_t (&q)[D / kMmaRows][4], const T* key_tile) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  PLLAVA_UNROLL
  for (int k = 0; k < D / kMmaRows; ++k) {
    PLLAVA_UNROLL
    for (int n = 0; n < kScoreFragments; n += 2) {
      std::uint32_t keys[4];
      load_matrices(keys,
                    key_tile + Tile<D>::at(n * 8 + lane / 16 * 8 + lane % 8, 2 * k + lane / 8 % 2));
      mma_16x16x16<T>(scores[n], scores[n + 1], q[k], keys);
    }
  }
}

/// Scores of positions from `visible` on become -inf, in the lane's second row from
/// `visible + second_row` on. `first`: position of the tile's first key.
PLLAVA_DEVICE void mask_scores(float (&scores)[kScoreFragments][4], int first, int visible,
                               int second_row) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  PLLAVA_UNROLL
  for (int n = 0; n < kScoreFragments; ++n) {
    PLLAVA_UNROLL
    for (int j = 0; j < 4; ++j) {
      const int p = first + n * 8 + lane % 4 * 2 + j % 2;
      if (p >= visible + j / 2 * second_row) scores[n][j] = -INFINITY;
    }
  }
}

/// Replaces the scores by exp2(score * scale - max), with the max over all tiles so far, and
/// rescales the state to that max. Every row has a visible key in the first tile (position 0), so
/// the max is finite.
template <int D>
PLLAVA_DEVICE void update_softmax_state(PrefillState<D>& state, float (&scores)[kScoreFragments][4],
                                        float scale) {
  PLLAVA_UNROLL
  for (int i = 0; i < 2; ++i) {
    float max = state.max[i];
    PLLAVA_UNROLL
    for (int n = 0; n < kScoreFragments; ++n)
      max = fmaxf(max, fmaxf(scores[n][2 * i], scores[n][2 * i + 1]));
    max = fmaxf(max, __shfl_xor_sync(0xffffffffu, max, 1));
    max = fmaxf(max, __shfl_xor_sync(0xffffffffu, max, 2));
    const float rescale = exp2_approx((state.max[i] - max) * scale), scaled_max = max * scale;
    state.max[i] = max;
    state.sum[i] *= rescale;
    PLLAVA_UNROLL
    for (int n = 0; n < D / kMmaColumns; ++n) {
      state.o[n][2 * i] *= rescale;
      state.o[n][2 * i + 1] *= rescale;
    }
    PLLAVA_UNROLL
    for (int n = 0; n < kScoreFragments; ++n) {
      scores[n][2 * i] = exp2_approx(scores[n][2 * i] * scale - scaled_max);
      scores[n][2 * i + 1] = exp2_approx(scores[n][2 * i + 1] * scale - scaled_max);
      state.sum[i] += scores[n][2 * i] + scores[n][2 * i + 1];
    }
  }
}

/// o += weights * values. The fragments of the weights, in T, are the left operands.
template <class T, int D>
PLLAVA_DEVICE void compute_pv(float (&o)[D / kMmaColumns][4],
                              const float (&weights)[kScoreFragments][4], const T* value_tile) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  PLLAVA_UNROLL
  for (int k = 0; k < kTileRows / kMmaRows; ++k) {
    const float(&low)[4] = weights[2 * k], (&high)[4] = weights[2 * k + 1];
    const std::uint32_t p[4] = {packed_pair<T>(low[0], low[1]), packed_pair<T>(low[2], low[3]),
                                packed_pair<T>(high[0], high[1]), packed_pair<T>(high[2], high[3])};
    PLLAVA_UNROLL
    for (int n = 0; n < D / kMmaColumns; n += 2) {
      std::uint32_t values[4];
      load_matrices_transposed(values,
                               value_tile + Tile<D>::at(k * kMmaRows + lane % 16, n + lane / 16));
      mma_16x16x16<T>(o[n], o[n + 1], p, values);
    }
  }
}

/// Divides by the running sums and writes the warp's rows.
template <class T, int D, bool vectorized>
PLLAVA_DEVICE void write_output(const PrefillState<D>& state, const Attention& params,
                                const QueryBlock& block) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp, head_dim = params.head_dim;
  PLLAVA_UNROLL
  for (int i = 0; i < 2; ++i) {
    float sum = state.sum[i];
    sum += __shfl_xor_sync(0xffffffffu, sum, 1);
    sum += __shfl_xor_sync(0xffffffffu, sum, 2);
    const int m = block.first + warp * kMmaRows + lane / 4 + 8 * i;
    if (m >= params.output_rows) continue;
    const float inverse = 1.0f / sum;
    T* const out = output_row<T>(params, block.sequence, block.head, m);
    PLLAVA_UNROLL
    for (int n = 0; n < D / kMmaColumns; ++n) {
      const int d = n * 8 + lane % 4 * 2;
      const float x = state.o[n][2 * i] * inverse, y = state.o[n][2 * i + 1] * inverse;
      if (vectorized) {
        if (d < head_dim) *reinterpret_cast<std::uint32_t*>(out + d) = packed_pair<T>(x, y);
      } else {
        if (d < head_dim) out[d] = from_float<T>(x);
        if (d + 1 < head_dim) out[d + 1] = from_float<T>(y);
      }
    }
  }
}

}  // namespace pllava::cuda::kernels
