// Decode attention: up to kMaxDecodeRows query rows over a long KV cache. The positions are split
// between blocks (split KV), which write partial softmax states; a second kernel merges them.
#include <cmath>
#include <cstdint>
#include <type_traits>

#include "attention_rows.cuh"
#include "softmax_state.cuh"

namespace pllava::cuda::kernels {
namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / kWarp;
constexpr int kTargetBlocks = 264;  // two for each of the 132 multiprocessors of an H100
constexpr int kMinSplitLength = 32;

/// The number of splits follows from values known on the host, so that a captured graph stays valid
/// while the cache grows.
int num_splits(const Attention& params) {
  const unsigned for_heads = grid_for(kTargetBlocks, params.num_kv_heads).x;
  const unsigned for_length = grid_for(params.max_kv_length, kMinSplitLength).x;
  const unsigned splits = for_heads < for_length ? for_heads : for_length;
  return splits > 1 ? static_cast<int>(splits) : 1;
}

/// Positions of a split, from the actual length.
PLLAVA_DEVICE int split_length(int kv_length, int splits) {
  return max((kv_length + splits - 1) / splits, kMinSplitLength);
}

/// Partial states of (output row, query head, split): the outputs (head_dim) of all, then the
/// running max and sum (2) of all.
struct PartialStates {
  float *o, *max_sum;

  PLLAVA_DEVICE PartialStates(float* data, const Attention& params, int splits)
      : o(data),
        max_sum(data + std::int64_t{params.output_rows} * params.num_query_heads * splits *
                           params.head_dim) {}
};

/// States of the warps of a block for R queries.
template <int R, int width>
struct WarpStates {
  float o[kWarps][R][width];
  float max[kWarps][R], sum[kWarps][R];
};

/// Scores of a query with `unroll` keys. `lanes` lanes share a key, each with one pack of it.
template <int lanes, int unroll, int N, class Keys>
PLLAVA_DEVICE void compute_qk(float (&scores)[unroll], const float (&q)[N],
                              const Keys (&keys)[unroll]) {
  PLLAVA_UNROLL
  for (int u = 0; u < unroll; ++u) {
    float key[N];
    keys[u].unpack_into(key);
    scores[u] = 0.0f;
    PLLAVA_UNROLL
    for (int i = 0; i < N; ++i) scores[u] += q[i] * key[i];
    PLLAVA_UNROLL
    for (int other = lanes / 2; other > 0; other /= 2)
      scores[u] += __shfl_xor_sync(0xffffffffu, scores[u], other);
    scores[u] *= keys[u].scale();
  }
}

/// Adds `unroll` positions to the state of a query.
template <int unroll, int N, class Values>
PLLAVA_DEVICE void update_softmax_state(SoftmaxState<N>& state, const float (&scores)[unroll],
                                        const Values (&values)[unroll]) {
  float max = state.max;
  PLLAVA_UNROLL
  for (int u = 0; u < unroll; ++u) max = fmaxf(max, scores[u]);
  const float rescale = exp2_weight(state.max, max);
  state.max = max;
  state.sum *= rescale;
  PLLAVA_UNROLL
  for (int i = 0; i < N; ++i) state.o[i] *= rescale;
  PLLAVA_UNROLL
  for (int u = 0; u < unroll; ++u) {
    float value[N];
    values[u].unpack_into(value);
    float weight = exp2_weight(scores[u], max);
    state.sum += weight;
    weight *= values[u].scale();
    PLLAVA_UNROLL
    for (int i = 0; i < N; ++i) state.o[i] += weight * value[i];
  }
}

/// Merges the states of the warps and writes this split's partial state of query r: output row `m`,
/// query head `head`.
template <int R, int width>
PLLAVA_DEVICE void write_partial_state(const PartialStates& partials,
                                       const WarpStates<R, width>& warps, int r, int m, int head,
                                       const Attention& params) {
  const int thread = static_cast<int>(threadIdx.x), head_dim = params.head_dim;
  const int split = static_cast<int>(blockIdx.x), splits = static_cast<int>(gridDim.x);
  const std::int64_t slot = (std::int64_t{m} * params.num_query_heads + head) * splits + split;
  const auto merged = merge_states(
      kWarps, [&](int w) { return warps.max[w][r]; }, [&](int w) { return warps.sum[w][r]; },
      [&](int w) { return thread < head_dim ? warps.o[w][r][thread] : 0.0f; });
  if (thread < head_dim) partials.o[slot * head_dim + thread] = merged.o[0];
  if (thread == 0) {
    partials.max_sum[2 * slot] = merged.max;
    partials.max_sum[2 * slot + 1] = merged.sum;
  }
}

/// A block takes the queries of one kv head, R at a time, over one split of the positions. `lanes`
/// lanes (a team) share a position, each with one pack of the row; a team has `unroll` positions in
/// flight.
template <class T, int lanes, int R, int unroll, bool vectorized, bool int8_cache>
PLLAVA_KERNEL(kThreads, 2)
decode_kernel(Attention params, float* data, float scale) {
  using Kv = std::conditional_t<int8_cache, QuantizedKvPack<T>, KvPack<T>>;
  constexpr int N = Pack<T>::size, kWidth = lanes * N, kTeams = kThreads / lanes;
  constexpr int kStep = kTeams * unroll;
  static_assert(kWarp % lanes == 0, "a team is within a warp");
  static_assert(kWidth <= kMaxHeadDim && kMaxHeadDim <= kThreads,
                "a thread writes one output element");
  PLLAVA_SHARED WarpStates<R, kWidth> warps;

  const int split = static_cast<int>(blockIdx.x), splits = static_cast<int>(gridDim.x);
  const int kv_head = static_cast<int>(blockIdx.y), group = group_size(params);
  const int head_dim = params.head_dim, past = params.past[0], kv_length = past + params.rows;
  const int length = split_length(kv_length, splits);
  const int begin = split * length, end = min(begin + length, kv_length);
  if (begin >= end) return;

  const int thread = static_cast<int>(threadIdx.x), warp = thread / kWarp;
  const int team = thread / lanes, d = thread % lanes * N;
  const auto keys = cache_rows<T, int8_cache>(params, kKeys, kv_head);
  const auto values = cache_rows<T, int8_cache>(params, kValues, kv_head);
  const PartialStates partials(data, params, splits);
  const int queries = params.output_rows * group;

  for (int done = 0; done < queries; done += R) {
    float q[R][N];
    SoftmaxState<N> states[R];
    int visible[R];  // positions from here on are masked
    PLLAVA_UNROLL
    for (int r = 0; r < R; ++r) {
      const int query = min(done + r, queries - 1);
      const int m = query / group, position = past + params.rows - params.output_rows + m;
      const HeadRows<T> rows =
          query_rows<T, int8_cache>(params, 0, kv_head * group + query % group);
      load_row(q[r], rows.at(m), d, head_dim, query_rope_row<int8_cache>(params, position),
               vectorized);
      PLLAVA_UNROLL
      for (int i = 0; i < N; ++i) q[r][i] *= scale;
      visible[r] = params.causal ? min(position + 1, end) : end;
    }

    // The next positions are loaded while the current ones are computed.
    Kv next_key[unroll], next_value[unroll];
    const auto load = [&](int start) {
      PLLAVA_UNROLL
      for (int u = 0; u < unroll; ++u) {
        const int p = min(start + u * kTeams + team, end - 1);
        next_key[u] = Kv::load(keys, p, d, head_dim, vectorized);
        next_value[u] = Kv::load(values, p, d, head_dim, vectorized);
      }
    };
    load(begin);
    for (int start = begin; start < end; start += kStep) {
      Kv key[unroll], value[unroll];
      PLLAVA_UNROLL
      for (int u = 0; u < unroll; ++u) {
        key[u] = next_key[u];
        value[u] = next_value[u];
      }
      if (start + kStep < end) load(start + kStep);
      PLLAVA_UNROLL
      for (int r = 0; r < R; ++r) {
        float scores[unroll];
        compute_qk<lanes>(scores, q[r], key);
        PLLAVA_UNROLL
        for (int u = 0; u < unroll; ++u)
          if (start + u * kTeams + team >= visible[r]) scores[u] = -INFINITY;
        update_softmax_state(states[r], scores, value);
      }
    }

    PLLAVA_UNROLL
    for (int r = 0; r < R; ++r) {
      merge_lanes<lanes>(states[r]);
      if (thread % kWarp >= lanes) continue;
      PLLAVA_UNROLL
      for (int i = 0; i < N; ++i) warps.o[warp][r][d + i] = states[r].o[i];
      if (d == 0) {
        warps.max[warp][r] = states[r].max;
        warps.sum[warp][r] = states[r].sum;
      }
    }
    __syncthreads();
    for (int r = 0; r < R && done + r < queries; ++r)
      write_partial_state(partials, warps, r, (done + r) / group,
                          kv_head * group + (done + r) % group, params);
    __syncthreads();
  }
}

/// A block merges the splits of one head of one output row.
template <class T>
PLLAVA_KERNEL(kMaxHeadDim, 1)
merge_splits_kernel(Attention params, float* data, int splits) {
  const int head = static_cast<int>(blockIdx.x), m = static_cast<int>(blockIdx.y);
  const int d = static_cast<int>(threadIdx.x), head_dim = params.head_dim;
  if (d >= head_dim) return;
  const int kv_length = params.past[0] + params.rows, length = split_length(kv_length, splits);
  const int used = (kv_length + length - 1) / length;
  const PartialStates partials(data, params, splits);
  const std::int64_t row = std::int64_t{m} * params.num_query_heads + head;
  const float* const max_sum = partials.max_sum + 2 * (row * splits);
  const float* const o = partials.o + row * splits * head_dim + d;
  const auto merged = merge_states(
      used, [&](int s) { return max_sum[2 * s]; }, [&](int s) { return max_sum[2 * s + 1]; },
      [&](int s) { return o[std::int64_t{s} * head_dim]; });
  static_cast<T*>(params.o.data)[row * head_dim + d] = from_float<T>(merged.o[0] / merged.sum);
}

template <class T, int lanes, bool int8_cache>
int launch_decode(const Attention& params, float* partials, int splits, Stream stream) {
  const auto start = [&](auto kernel) {
    const Grid grid = {static_cast<unsigned>(splits), static_cast<unsigned>(params.num_kv_heads)};
    return launch(kernel, grid, kThreads, 0, stream, params, partials,
                  softmax_scale(params) * kLog2e);
  };
  const int queries = params.output_rows * (params.num_query_heads / params.num_kv_heads);
  if (!can_vectorize<T>(params)) return start(decode_kernel<T, lanes, 4, 1, false, int8_cache>);
  if (queries == 1) return start(decode_kernel<T, lanes, 1, 4, true, int8_cache>);
  if (queries == 2) return start(decode_kernel<T, lanes, 2, 4, true, int8_cache>);
  if (queries <= 4) return start(decode_kernel<T, lanes, 4, 2, true, int8_cache>);
  return start(decode_kernel<T, lanes, 8, 2, true, int8_cache>);
}

template <class T, bool int8_cache>
int launch_decode(const Attention& params, float* partials, int splits, Stream stream) {
  if constexpr (std::is_same_v<T, float>) {
    static_assert(32 * Pack<T>::size == kMaxHeadDim);
    return launch_decode<T, 32, int8_cache>(params, partials, splits, stream);
  } else {
    static_assert(8 * Pack<T>::size == 64 && 16 * Pack<T>::size == kMaxHeadDim);
    return params.head_dim <= 64
               ? launch_decode<T, 8, int8_cache>(params, partials, splits, stream)
               : launch_decode<T, 16, int8_cache>(params, partials, splits, stream);
  }
}

}  // namespace

int decode_attention(const Attention& params, void* workspace, Stream stream) {
  if (!is_supported(params) || params.keys == nullptr || params.rows > kMaxDecodeRows ||
      params.batch != 1)
    return kInvalidValue;
  if (params.output_rows == 0) return 0;
  const int splits = num_splits(params);
  const auto partials = static_cast<float*>(workspace);
  return with_type(params.qkv.type, [&](auto zero) {
    using T = decltype(zero);
    const int status = params.kv_scales != nullptr
                           ? launch_decode<T, true>(params, partials, splits, stream)
                           : launch_decode<T, false>(params, partials, splits, stream);
    if (status != 0) return status;
    const Grid grid = {static_cast<unsigned>(params.num_query_heads),
                       static_cast<unsigned>(params.output_rows)};
    return launch(merge_splits_kernel<T>, grid, kMaxHeadDim, 0, stream, params, partials, splits);
  });
}

std::int64_t decode_workspace_bytes(const Attention& params) {
  return std::int64_t{params.output_rows} * params.num_query_heads * num_splits(params) *
         (params.head_dim + 2) * static_cast<std::int64_t>(sizeof(float));
}

}  // namespace pllava::cuda::kernels
