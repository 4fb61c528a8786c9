// Appends the keys and values of a call to the KV cache.
#include "attention_rows.cuh"

namespace pllava::cuda::kernels {
namespace {

constexpr int kThreads = 256;

/// A thread writes a pack of a key and the same pack of its value.
template <class T>
PLLAVA_KERNEL(kThreads, 1)
append_kernel(Attention params, bool vectorized) {
  constexpr int N = Pack<T>::size;
  const int head_dim = params.head_dim, packs = (head_dim + N - 1) / N;
  const std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= std::int64_t{params.rows} * params.num_kv_heads * packs) return;
  const int d = static_cast<int>(i % packs) * N;
  const int kv_head = static_cast<int>(i / packs % params.num_kv_heads);
  const int n = static_cast<int>(i / packs / params.num_kv_heads);
  const int position = params.past[0] + n;
  const T* const key = qkv_rows<T>(params, kKeys, 0, kv_head).at(n);
  const T* const value = qkv_rows<T>(params, kValues, 0, kv_head).at(n);
  const std::int64_t offset = (kv_head * params.capacity + position) * head_dim + d;
  T* const key_out = static_cast<T*>(params.keys) + offset;
  T* const value_out = static_cast<T*>(params.values) + offset;
  float rotated[N];
  load_row(rotated, key, d, head_dim, rope_row(params, position), vectorized);
  if (vectorized) {
    *reinterpret_cast<Words*>(key_out) = pack(rotated, T{});
    *reinterpret_cast<Words*>(value_out) = load_words(value + d);
  } else {
    for (int j = 0; j < N && d + j < head_dim; ++j) {
      key_out[j] = from_float<T>(rotated[j]);
      value_out[j] = value[d + j];
    }
  }
}

/// Into an int8 cache. A warp quantizes one key or value row of a head with scale max|x| / 127. A
/// row with an infinity or NaN gets the scale NaN, so that the error reaches the logits.
template <class T>
PLLAVA_KERNEL(kThreads, 1)
append_int8_kernel(Attention params) {
  static_assert(kMaxHeadDim % kWarp == 0);
  constexpr int kPerLane = kMaxHeadDim / kWarp;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const std::int64_t i =
      (std::int64_t{blockIdx.x} * kThreads + threadIdx.x) / kWarp;  // row, head, part
  if (i >= std::int64_t{params.rows} * params.num_kv_heads * 2) return;
  const KvPart part = i % 2 == 0 ? kKeys : kValues;
  const int kv_head = static_cast<int>(i / 2 % params.num_kv_heads);
  const int n = static_cast<int>(i / 2 / params.num_kv_heads);
  const int head_dim = params.head_dim, position = params.past[0] + n;
  const T* const row = qkv_rows<T>(params, part, 0, kv_head).at(n);
  const float* const rope = part == kKeys ? rope_row(params, position) : nullptr;
  float x[kPerLane] = {}, max_abs = 0.0f, nan_if_not_finite = 0.0f;
  PLLAVA_UNROLL
  for (int j = 0; j < kPerLane; ++j) {
    const int d = j * kWarp + lane;
    if (d < head_dim) x[j] = load_element(row, d, head_dim, rope);
    max_abs = fmaxf(max_abs, fabsf(x[j]));
    nan_if_not_finite += x[j] - x[j];
  }
  max_abs = warp_max(max_abs);
  nan_if_not_finite = warp_sum(nan_if_not_finite);
  const float inverse = max_abs > 0.0f ? 127.0f / max_abs : 0.0f;
  auto* const out = static_cast<std::uint8_t*>(part == kKeys ? params.keys : params.values) +
                    (kv_head * params.capacity + position) * head_dim;
  PLLAVA_UNROLL
  for (int j = 0; j < kPerLane; ++j) {
    const int d = j * kWarp + lane;
    const float quantized = rintf(fminf(fmaxf(x[j] * inverse, -127.0f), 127.0f));
    if (d < head_dim) out[d] = static_cast<std::uint8_t>(static_cast<int>(quantized) + 128);
  }
  if (lane == 0) kv_scales(params, part, kv_head)[position] = max_abs / 127.0f + nan_if_not_finite;
}

}  // namespace

int append_kv(const Attention& params, Stream stream) {
  if (!is_supported(params)) return kInvalidValue;
  return with_type(params.qkv.type, [&](auto zero) {
    using T = decltype(zero);
    const std::int64_t heads = std::int64_t{params.rows} * params.num_kv_heads;
    if (params.kv_scales != nullptr)
      return launch(append_int8_kernel<T>, grid_for(heads * 2 * kWarp, kThreads), kThreads, 0,
                    stream, params);
    const int packs = (params.head_dim + Pack<T>::size - 1) / Pack<T>::size;
    return launch(append_kernel<T>, grid_for(heads * packs, kThreads), kThreads, 0, stream, params,
                  can_vectorize<T>(params));
  });
}

}  // namespace pllava::cuda::kernels
