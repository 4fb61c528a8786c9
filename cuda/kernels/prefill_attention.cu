// Prefill attention on tensor cores (f16, bf16): a block computes kTileRows query rows of one head,
// with an online softmax over tiles of keys and values.
//
// Scores are in units of log2: exp(s/sqrt(head_dim) - max) is one ex2 of
// s * log2(e)/sqrt(head_dim) - max.
#include <type_traits>

#include "prefill_attention.cuh"
#include "prefill_softmax.cuh"

namespace pllava::cuda::kernels {
namespace {

/// Two stages of tiles: the next keys and values are loaded while the current ones are computed.
template <class T, int D, bool vectorized, bool int8_cache>
PLLAVA_KERNEL(kPrefillThreads, 2)
prefill_kernel(Attention params, float scale) {
  using Layout = Tile<D>;
  static_assert(kPrefillSharedBytes<D> <= kMaxSharedBytes);
  PLLAVA_DYNAMIC_SHARED(memory);
  T* const stages = reinterpret_cast<T*>(memory);  // keys, values; keys, values
  const QueryBlock block = query_block<kTileRows>(params);
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int tiles = (block.kv_end + kTileRows - 1) / kTileRows;

  const auto keys = kv_rows<T, int8_cache>(params, kKeys, block.sequence, block.kv_head);
  const auto values = kv_rows<T, int8_cache>(params, kValues, block.sequence, block.kv_head);
  const float* const key_rope = params.keys == nullptr ? params.rope : nullptr;
  const auto load_stage = [&](T* stage, int first) {
    load_tile<T, D, vectorized>(stage, keys, first, block.kv_end, params.head_dim, key_rope);
    load_tile<T, D, vectorized>(stage + Layout::size, values, first, block.kv_end, params.head_dim,
                                nullptr);
    commit_async();
  };
  load_stage(stages, 0);
  std::uint32_t q[D / kMmaRows][4];
  load_queries<T, D, vectorized, int8_cache>(q, stages + 2 * Layout::size, params, block);

  const int warp_first = block.first + warp * kMmaRows;
  const bool idle = warp_first >= params.output_rows;
  // The number of positions that the warp's first row and this lane's first row see.
  const int warp_visible =
      params.causal ? block.past + block.skipped + warp_first + 1 : block.kv_length;
  const int visible = params.causal ? warp_visible + lane / 4 : block.kv_length;
  const int second_row = params.causal ? 8 : 0;
  PrefillState<D> state;
  for (int t = 0; t < tiles; ++t) {
    wait_async<0>();
    __syncthreads();  // tile t is loaded, and no thread reads the other stage any more
    if (t + 1 < tiles) load_stage(stages + (t + 1) % 2 * (2 * Layout::size), (t + 1) * kTileRows);
    if (idle || t * kTileRows >= warp_visible + kMmaRows - 1) continue;
    const T* const key_tile = stages + t % 2 * (2 * Layout::size);
    float scores[kScoreFragments][4] = {};
    compute_qk<T, D>(scores, q, key_tile);
    if ((t + 1) * kTileRows > warp_visible) mask_scores(scores, t * kTileRows, visible, second_row);
    update_softmax_state<D>(state, scores, scale);
    compute_pv<T, D>(state.o, scores, key_tile + Layout::size);
  }
  write_output<T, D, vectorized>(state, params, block);
}

template <class T, int D, bool vectorized, bool int8_cache = false>
int launch_prefill(const Attention& params, Stream stream) {
  return launch(prefill_kernel<T, D, vectorized, int8_cache>, prefill_grid(params, kTileRows),
                kPrefillThreads, kPrefillSharedBytes<D>, stream, params,
                softmax_scale(params) * kLog2e);
}

/// Head dimensions are padded to the next D that is built: all that models have for aligned rows,
/// few for the rest.
template <class T>
int launch_prefill(const Attention& params, Stream stream) {
  static_assert(kMaxHeadDim == 128, "the largest D below");
  const int head_dim = params.head_dim;
  if (params.kv_scales != nullptr) {
    if (!can_vectorize<T>(params)) return launch_prefill<T, 128, false, true>(params, stream);
    return head_dim <= 64 ? launch_prefill<T, 64, true, true>(params, stream)
                          : launch_prefill<T, 128, true, true>(params, stream);
  }
  const bool keys_need_rope = params.keys == nullptr && params.rope != nullptr;
  if (!can_vectorize<T>(params) || keys_need_rope) {
    if (head_dim <= 16) return launch_prefill<T, 16, false>(params, stream);
    if (head_dim <= 64) return launch_prefill<T, 64, false>(params, stream);
    return launch_prefill<T, 128, false>(params, stream);
  }
  if (head_dim <= 16) return launch_prefill<T, 16, true>(params, stream);
  if (head_dim <= 32) return launch_prefill<T, 32, true>(params, stream);
  if (head_dim <= 64) return launch_prefill<T, 64, true>(params, stream);
  if (head_dim <= 80) return launch_prefill<T, 80, true>(params, stream);
  if (head_dim <= 96) return launch_prefill<T, 96, true>(params, stream);
  return launch_prefill<T, 128, true>(params, stream);
}

}  // namespace

int prefill_attention(const Attention& params, Stream stream) {
  if (!is_supported(params)) return kInvalidValue;
  return with_type(params.qkv.type, [&](auto zero) {
    using T = decltype(zero);
    if constexpr (std::is_same_v<T, float>)
      return prefill_attention_f32(params, stream);
    else
      return launch_prefill<T>(params, stream);
  });
}

}  // namespace pllava::cuda::kernels
