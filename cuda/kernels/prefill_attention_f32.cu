// Prefill attention in f32, without tensor cores: for the scores a lane has one key of the tile,
// for the output every 32nd column.
#include "prefill_attention.cuh"
#include "prefill_block.cuh"

namespace pllava::cuda::kernels {
namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / kWarp;
constexpr int kBlockRows = 16;   // query rows of a block
constexpr int kKeyRows = kWarp;  // keys of a tile, one for each lane
constexpr int kWarpRows = kBlockRows / kWarps;
constexpr int kColumns = kMaxHeadDim / kWarp;  // output columns of a lane
static_assert(kBlockRows % kWarps == 0 && kMaxHeadDim % kWarp == 0);

/// Shared memory of a block.
struct Shared {
  float q[kBlockRows][kMaxHeadDim];
  float keys[kKeyRows][kMaxHeadDim + 1];  // padded: lanes read a column
  float values[kKeyRows][kMaxHeadDim];
  float weights[kBlockRows][kKeyRows];
};
static_assert(sizeof(Shared) <= kMaxSharedBytes);

/// State of a warp's rows: output columns of this lane, running max, running sum of this lane's
/// keys.
struct State {
  float o[kWarpRows][kColumns] = {};
  float max[kWarpRows], sum[kWarpRows];
};

template <bool int8_cache>
PLLAVA_DEVICE void load_queries(Shared& shared, const Attention& params, const QueryBlock& block) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp, head_dim = params.head_dim;
  const HeadRows<float> queries = query_rows<float, int8_cache>(params, block.sequence, block.head);
  for (int row = warp; row < kBlockRows; row += kWarps)
    for (int d = lane * 4; d < head_dim; d += kWarp * 4) {
      const int m = block.first + row, position = block.past + block.skipped + m;
      float x[4] = {};
      if (m < params.output_rows)
        load_row(x, queries.at(m), d, head_dim, query_rope_row<int8_cache>(params, position),
                 false);
      for (int j = 0; j < 4; ++j) shared.q[row][d + j] = x[j];
    }
}

/// Loads the keys and values from `begin` on; zeros at or after the end of the visible positions.
template <class Rows>
PLLAVA_DEVICE void load_kv_tile(Shared& shared, const Rows& keys, const Rows& values, int begin,
                                const Attention& params, const QueryBlock& block) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp, head_dim = params.head_dim;
  for (int row = warp; row < kKeyRows; row += kWarps)
    for (int d = lane * 4; d < head_dim; d += kWarp * 4) {
      const int p = begin + row;
      float key[4] = {}, value[4] = {};
      if (p < block.kv_end) {
        const float* const rope = params.keys == nullptr ? rope_row(params, p) : nullptr;
        unpack(key, load_kv_words(keys, p, d, head_dim, rope, false), 0.0f);
        unpack(value, load_kv_words(values, p, d, head_dim, nullptr, false), 0.0f);
      }
      for (int j = 0; j < 4; ++j) {
        shared.keys[row][d + j] = key[j];
        shared.values[row][d + j] = value[j];
      }
    }
}

/// Weights of the tile's keys for the warp's rows, and the state rescaled to their max.
PLLAVA_DEVICE void update_softmax_state(State& state, Shared& shared, int begin,
                                        const Attention& params, const QueryBlock& block,
                                        float scale) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  for (int r = 0; r < kWarpRows; ++r) {
    const int row = warp * kWarpRows + r;
    const int visible =
        params.causal ? block.past + block.skipped + block.first + row + 1 : block.kv_length;
    float score = 0.0f;
    for (int d = 0; d < params.head_dim; ++d) score += shared.q[row][d] * shared.keys[lane][d];
    score = begin + lane < min(visible, block.kv_end) ? score * scale : -INFINITY;
    const float max = fmaxf(state.max[r], warp_max(score)), rescale = expf(state.max[r] - max);
    const float weight = expf(score - max);
    shared.weights[row][lane] = weight;
    state.max[r] = max;
    state.sum[r] = state.sum[r] * rescale + weight;
    for (int c = 0; c < kColumns; ++c) state.o[r][c] *= rescale;
  }
}

/// o += weights * values, for the warp's rows.
PLLAVA_DEVICE void compute_pv(State& state, const Shared& shared, int head_dim) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  for (int key = 0; key < kKeyRows; ++key)
    for (int c = 0; c < kColumns; ++c) {
      const int d = c * kWarp + lane;
      if (d >= head_dim) continue;
      for (int r = 0; r < kWarpRows; ++r)
        state.o[r][c] += shared.weights[warp * kWarpRows + r][key] * shared.values[key][d];
    }
}

PLLAVA_DEVICE void write_output(const State& state, const Attention& params,
                                const QueryBlock& block) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  for (int r = 0; r < kWarpRows; ++r) {
    const float inverse = 1.0f / warp_sum(state.sum[r]);
    const int m = block.first + warp * kWarpRows + r;
    if (m >= params.output_rows) continue;
    float* const out = output_row<float>(params, block.sequence, block.head, m);
    for (int c = 0; c < kColumns; ++c)
      if (c * kWarp + lane < params.head_dim) out[c * kWarp + lane] = state.o[r][c] * inverse;
  }
}

template <bool int8_cache>
PLLAVA_KERNEL(kThreads, 2)
prefill_f32_kernel(Attention params, float scale) {
  PLLAVA_DYNAMIC_SHARED(memory);
  Shared& shared = *reinterpret_cast<Shared*>(memory);
  const QueryBlock block = query_block<kBlockRows>(params);
  const auto keys = kv_rows<float, int8_cache>(params, kKeys, block.sequence, block.kv_head);
  const auto values = kv_rows<float, int8_cache>(params, kValues, block.sequence, block.kv_head);
  load_queries<int8_cache>(shared, params, block);
  State state;
  for (int r = 0; r < kWarpRows; ++r) {
    state.max[r] = -INFINITY;
    state.sum[r] = 0.0f;
  }
  for (int begin = 0; begin < block.kv_end; begin += kKeyRows) {
    __syncthreads();
    load_kv_tile(shared, keys, values, begin, params, block);
    __syncthreads();
    update_softmax_state(state, shared, begin, params, block, scale);
    __syncwarp();
    compute_pv(state, shared, params.head_dim);
  }
  write_output(state, params, block);
}

}  // namespace

int prefill_attention_f32(const Attention& params, Stream stream) {
  return launch(params.kv_scales != nullptr ? prefill_f32_kernel<true> : prefill_f32_kernel<false>,
                prefill_grid(params, kBlockRows), kThreads, static_cast<int>(sizeof(Shared)),
                stream, params, softmax_scale(params));
}

}  // namespace pllava::cuda::kernels
