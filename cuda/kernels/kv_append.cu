// Appends the keys and values of a call to the KV cache.
#include "attention_rows.cuh"
#include "rotation.cuh"

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
  float x[N];
  load_row(x, key, d, head_dim, rope_row(params, position), vectorized);
  if (vectorized) {
    *reinterpret_cast<Words*>(key_out) = pack(x, T{});
    *reinterpret_cast<Words*>(value_out) = load_words(value + d);
  } else {
    for (int j = 0; j < N && d + j < head_dim; ++j) {
      key_out[j] = from_float<T>(x[j]);
      value_out[j] = value[d + j];
    }
  }
}

// ---- into an int8 cache -------------------------------------------------------------------------

constexpr int kRowSize = rotation_row_size(kMaxHeadDim);
constexpr int kMixedValues = 4;  // that a thread mixes in registers: see rotate()

/// A warp quantizes one row of a head with scale max|x| / 127. A row with an infinity or NaN gets
/// the scale NaN, so that the error reaches the logits.
PLLAVA_DEVICE void write_int8(const Attention& params, KvPart part, int kv_head, int position,
                              const Row<true>& x) {
  const int lane = WarpThreads::index(), head_dim = params.head_dim;
  float max_abs = 0.0f, nan_if_not_finite = 0.0f;
  for (int d = lane; d < head_dim; d += kWarp) {
    max_abs = fmaxf(max_abs, fabsf(x[d]));
    nan_if_not_finite += x[d] - x[d];
  }
  max_abs = warp_max(max_abs);
  nan_if_not_finite = warp_sum(nan_if_not_finite);
  const float inverse = max_abs > 0.0f ? 127.0f / max_abs : 0.0f;
  auto* const out = static_cast<std::uint8_t*>(part == kKeys ? params.keys : params.values) +
                    (kv_head * params.capacity + position) * head_dim;
  for (int d = lane; d < head_dim; d += kWarp) {
    const float quantized = rintf(fminf(fmaxf(x[d] * inverse, -127.0f), 127.0f));
    out[d] = static_cast<std::uint8_t>(static_cast<int>(quantized) + 128);
  }
  if (lane == 0) kv_scales(params, part, kv_head)[position] = max_abs / 127.0f + nan_if_not_finite;
}

/// A warp takes one head of a row: a query, key or value. A few dimensions of keys are much larger
/// than the others, so keys are rotated before they are quantized. Queries are rotated alike.
///
/// Queries are rotated here, and not where they are read, because many blocks of decode attention
/// read the same query: each would repeat RoPE and the rotation before its first product. `o`,
/// which has their shape and type, holds them until the attention kernel overwrites it.
template <class T>
PLLAVA_KERNEL(kThreads, 1)
append_int8_kernel(Attention params, Rotation rotation) {
  constexpr int kWarps = kThreads / kWarp;
  PLLAVA_SHARED float rows[kWarps][kRowSize];
  const int lane = WarpThreads::index(), warp = static_cast<int>(threadIdx.x) / kWarp;
  const int first_key = params.num_query_heads, first_value = first_key + params.num_kv_heads;
  const int heads = first_value + params.num_kv_heads, head_dim = params.head_dim;
  const std::int64_t i = std::int64_t{blockIdx.x} * kWarps + warp;
  const int head = static_cast<int>(i % heads), n = static_cast<int>(i / heads);
  const int m = n - (params.rows - params.output_rows);
  if (i >= std::int64_t{params.rows} * heads || (head < first_key && m < 0)) return;

  const int position = params.past[0] + n;
  const T* const from = qkv_rows<T>(params, 0, head).at(n);
  const Row<true> x{rows[warp]};
  if (head >= first_value) {
    for (int d = lane; d < head_dim; d += kWarp) x[d] = to_float(from[d]);
    return write_int8(params, kValues, head - first_value, position, x);
  }
  const float* const rope = rope_row(params, position);
  rotate<WarpThreads, kMixedValues>(x, rotation,
                                    [&](int d) { return load_element(from, d, head_dim, rope); });
  if (head >= first_key) return write_int8(params, kKeys, head - first_key, position, x);
  T* const query = output_row<T>(params, 0, head, m);
  for (int d = lane; d < head_dim; d += kWarp) query[d] = from_float<T>(x[d]);
}

}  // namespace

int append_kv(const Attention& params, Stream stream) {
  if (!is_supported(params)) return kInvalidValue;
  return with_type(params.qkv.type, [&](auto zero) {
    using T = decltype(zero);
    if (params.kv_scales != nullptr) {
      const int heads = params.num_query_heads + 2 * params.num_kv_heads;
      return launch(append_int8_kernel<T>,
                    grid_for(std::int64_t{params.rows} * heads, kThreads / kWarp), kThreads, 0,
                    stream, params, rotation_of(params.head_dim));
    }
    const std::int64_t heads = std::int64_t{params.rows} * params.num_kv_heads;
    const int packs = (params.head_dim + Pack<T>::size - 1) / Pack<T>::size;
    return launch(append_kernel<T>, grid_for(heads * packs, kThreads), kThreads, 0, stream, params,
                  can_vectorize<T>(params));
  });
}

}  // namespace pllava::cuda::kernels
