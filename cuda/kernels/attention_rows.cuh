// Rows of one attention head, read from the qkv rows of a call or from the KV cache, with rotary
// embedding (RoPE) or int8 dequantization on the way.
#pragma once

#include <cstdint>
#include <cstring>

#include "mma.cuh"
#include "quantized.cuh"
#include "simt.cuh"

namespace pllava::cuda::kernels {

constexpr int kMaxHeadDim = 128;
constexpr float kLog2e = 1.4426950408889634f;

// ---- where rows are -----------------------------------------------------------------------------

/// Rows of one head: row p starts at first + p * stride.
template <class T>
struct HeadRows {
  const T* first;
  int stride;

  PLLAVA_DEVICE const T* at(int p) const { return first + std::int64_t{p} * stride; }
};

/// Rows of one head in an int8 cache; element value = scales[p] * (byte - 128).
template <class T>
struct QuantizedHeadRows {
  const std::uint8_t* first;
  int stride;
  const float* scales;

  PLLAVA_DEVICE const std::uint8_t* at(int p) const { return first + std::int64_t{p} * stride; }
};

enum KvPart { kKeys, kValues };

/// Query heads that share a kv head.
PLLAVA_DEVICE int group_size(const Attention& params) {
  return params.num_query_heads / params.num_kv_heads;
}

/// Head `head` of the [query | key | value] heads in the qkv rows of a sequence.
template <class T>
PLLAVA_DEVICE HeadRows<T> qkv_rows(const Attention& params, int sequence, int head) {
  const int width = (params.num_query_heads + 2 * params.num_kv_heads) * params.head_dim;
  const std::int64_t row = std::int64_t{sequence} * params.rows;
  return {static_cast<const T*>(params.qkv.data) + row * width + head * params.head_dim, width};
}

/// Keys or values of a kv head in the qkv rows of a sequence.
template <class T>
PLLAVA_DEVICE HeadRows<T> qkv_rows(const Attention& params, KvPart part, int sequence,
                                   int kv_head) {
  const int first = params.num_query_heads + (part == kValues ? params.num_kv_heads : 0);
  return qkv_rows<T>(params, sequence, first + kv_head);
}

/// Scales of a kv head in an int8 cache.
PLLAVA_DEVICE float* kv_scales(const Attention& params, KvPart part, int kv_head) {
  return params.kv_scales +
         ((part == kValues ? params.num_kv_heads : 0) + kv_head) * params.capacity;
}

/// Keys or values of a kv head in the cache.
template <class T, bool int8_cache>
PLLAVA_DEVICE auto cache_rows(const Attention& params, KvPart part, int kv_head) {
  const void* const data = part == kKeys ? params.keys : params.values;
  const std::int64_t first = kv_head * params.capacity * params.head_dim;
  if constexpr (int8_cache)
    return QuantizedHeadRows<T>{static_cast<const std::uint8_t*>(data) + first, params.head_dim,
                                kv_scales(params, part, kv_head)};
  else
    return HeadRows<T>{static_cast<const T*>(data) + first, params.head_dim};
}

/// Keys or values of a kv head: in the cache, or without one in the qkv rows of a sequence.
template <class T, bool int8_cache>
PLLAVA_DEVICE auto kv_rows(const Attention& params, KvPart part, int sequence, int kv_head) {
  if constexpr (!int8_cache)
    if (params.keys == nullptr) return qkv_rows<T>(params, part, sequence, kv_head);
  return cache_rows<T, int8_cache>(params, part, kv_head);
}

/// Head `head` of output row m of a sequence.
template <class T>
PLLAVA_DEVICE T* output_row(const Attention& params, int sequence, int head, int m) {
  const std::int64_t row = std::int64_t{sequence} * params.output_rows + m;
  return static_cast<T*>(params.o.data) + (row * params.num_query_heads + head) * params.head_dim;
}

/// Queries of a head for the output rows of a sequence. With an int8 cache append_kv() has left
/// them in o, after RoPE and rotated.
template <class T, bool int8_cache>
PLLAVA_DEVICE HeadRows<T> query_rows(const Attention& params, int sequence, int head) {
  if constexpr (int8_cache) {
    return {output_row<T>(params, sequence, head, 0), params.num_query_heads * params.head_dim};
  } else {
    const HeadRows<T> rows = qkv_rows<T>(params, sequence, head);
    return {rows.at(params.rows - params.output_rows), rows.stride};
  }
}

PLLAVA_DEVICE int past_length(const Attention& params) {
  return params.keys != nullptr ? params.past[0] : 0;
}

/// cos | sin of a position (head_dim values); null without rotary embedding.
PLLAVA_DEVICE const float* rope_row(const Attention& params, int position) {
  return params.rope != nullptr ? params.rope + std::int64_t{position} * params.head_dim : nullptr;
}

/// The same for query_rows().
template <bool int8_cache>
PLLAVA_DEVICE const float* query_rope_row(const Attention& params, int position) {
  return int8_cache ? nullptr : rope_row(params, position);
}

// ---- packs of 16 bytes --------------------------------------------------------------------------

/// A pack as 4 registers; an array of 16-bit values may take more.
using Words = Pack<std::uint32_t>;

template <class T>
PLLAVA_DEVICE Words load_words(const T* p) {
  return *reinterpret_cast<const Words*>(p);
}

PLLAVA_DEVICE void unpack(float (&x)[4], const Words& words, float) {
  std::memcpy(x, words.at, sizeof words);
}
template <class T>
PLLAVA_DEVICE void unpack(float (&x)[8], const Words& words, T) {
  static_assert(Pack<T>::size == 8);
  PLLAVA_UNROLL
  for (int i = 0; i < 4; ++i) {
    x[2 * i] = to_float(T{static_cast<std::uint16_t>(words.at[i])});
    x[2 * i + 1] = to_float(T{static_cast<std::uint16_t>(words.at[i] >> 16)});
  }
}

template <class T>
PLLAVA_DEVICE Words pack(const float (&x)[8], T) {
  static_assert(Pack<T>::size == 8);
  Words words;
  PLLAVA_UNROLL
  for (int i = 0; i < 4; ++i) words.at[i] = packed_pair<T>(x[2 * i], x[2 * i + 1]);
  return words;
}
PLLAVA_DEVICE Words pack(const float (&x)[4], float) {
  Words words;
  std::memcpy(words.at, x, sizeof words);
  return words;
}

// ---- loads with rotary embedding ----------------------------------------------------------------

/// Element d of a head's row, after RoPE unless `rope` is null.
template <class T>
PLLAVA_DEVICE float load_element(const T* row, int d, int head_dim, const float* rope) {
  const float x = to_float(row[d]);
  if (rope == nullptr) return x;
  const int half = head_dim / 2, angle = d < half ? d : d - half;
  const float other = d < half ? -to_float(row[d + half]) : to_float(row[d - half]);
  return x * rope[angle] + other * rope[angle + half];
}

/// Elements [d, d + size of a pack) of a head's row, after RoPE unless `rope` is null. The row is
/// 16-byte aligned; with `rope` a pack is within one half of the row.
template <class T>
PLLAVA_DEVICE void load_pack(float (&x)[Pack<T>::size], const T* row, int d, int head_dim,
                             const float* rope) {
  constexpr int N = Pack<T>::size;
  unpack(x, d < head_dim ? load_words(row + d) : Words{}, T{});
  if (rope == nullptr || d >= head_dim) return;
  const int half = head_dim / 2;
  const bool lower = d < half;
  float y[N];
  unpack(y, load_words(lower ? row + d + half : row + d - half), T{});
  const float* const cosines = lower ? rope + d : rope + d - half;
  PLLAVA_UNROLL
  for (int i = 0; i < N; i += 4) {
    float cosine[4], sine[4];
    unpack(cosine, load_words(cosines + i), 0.0f);
    unpack(sine, load_words(cosines + half + i), 0.0f);
    PLLAVA_UNROLL
    for (int j = 0; j < 4; ++j)
      x[i + j] = x[i + j] * cosine[j] + (lower ? -y[i + j] : y[i + j]) * sine[j];
  }
}

/// Elements [d, d + size of a pack) of a head's row; zeros from head_dim on. `vectorized`: see
/// can_vectorize().
template <class T>
PLLAVA_DEVICE void load_row(float (&x)[Pack<T>::size], const T* row, int d, int head_dim,
                            const float* rope, bool vectorized) {
  if (vectorized) return load_pack(x, row, d, head_dim, rope);
  PLLAVA_UNROLL
  for (int i = 0; i < Pack<T>::size; ++i)
    x[i] = d + i < head_dim ? load_element(row, d + i, head_dim, rope) : 0.0f;
}

template <class T>
PLLAVA_DEVICE Words load_row_words(const T* row, int d, int head_dim, const float* rope,
                                   bool vectorized) {
  float x[Pack<T>::size];
  load_row(x, row, d, head_dim, rope, vectorized);
  return pack(x, T{});
}

// ---- loads from the KV cache --------------------------------------------------------------------

/// A pack of a cached row as decode attention prefetches it. Element values are scale() times the
/// results of unpack_into().
template <class T>
struct KvPack {
  Words words = {};

  PLLAVA_DEVICE static KvPack load(const HeadRows<T>& rows, int p, int d, int head_dim,
                                   bool vectorized) {
    if (!vectorized) return {load_row_words(rows.at(p), d, head_dim, nullptr, false)};
    return {d < head_dim ? load_words(rows.at(p) + d) : Words{}};
  }
  PLLAVA_DEVICE void unpack_into(float (&x)[Pack<T>::size]) const { unpack(x, words, T{}); }
  PLLAVA_DEVICE float scale() const { return 1.0f; }
};

/// `Count` bytes, moved by one instruction.
template <int Count>
struct alignas(Count) Bytes {
  static_assert(Count % 4 == 0);
  std::uint32_t at[Count / 4] = {};
};

/// The same of an int8 cache: as many elements as a pack of T.
template <class T>
struct QuantizedKvPack {
  static constexpr int size = Pack<T>::size;
  Bytes<size> bytes = {};
  float row_scale = 0.0f;

  PLLAVA_DEVICE static QuantizedKvPack load(const QuantizedHeadRows<T>& rows, int p, int d,
                                            int head_dim, bool vectorized) {
    const std::uint8_t* const from = rows.at(p) + d;
    QuantizedKvPack loaded;
    loaded.row_scale = rows.scales[p];
    if (vectorized && d < head_dim) {
      loaded.bytes = *reinterpret_cast<const Bytes<size>*>(from);
    } else {
      PLLAVA_UNROLL
      for (int i = 0; i < size; ++i)
        loaded.bytes.at[i / 4] |= (d + i < head_dim ? from[i] : 128u) << (i % 4 * 8);
    }
    return loaded;
  }
  PLLAVA_DEVICE void unpack_into(float (&x)[size]) const {
    PLLAVA_UNROLL
    for (int i = 0; i < size / 4; ++i) {
      float part[4];
      unpack_word<QuantizedType::int8>(part, bytes.at[i], 128.0f);
      PLLAVA_UNROLL
      for (int j = 0; j < 4; ++j) x[4 * i + j] = part[j];
    }
  }
  PLLAVA_DEVICE float scale() const { return row_scale; }
};

/// Elements [d, d + size of a pack) of row p of a head, in T; zeros from head_dim on.
template <class T>
PLLAVA_DEVICE Words load_kv_words(const HeadRows<T>& rows, int p, int d, int head_dim,
                                  const float* rope, bool vectorized) {
  return load_row_words(rows.at(p), d, head_dim, rope, vectorized);
}
template <class T>
PLLAVA_DEVICE Words load_kv_words(const QuantizedHeadRows<T>& rows, int p, int d, int head_dim,
                                  const float*, bool vectorized) {
  const auto loaded = QuantizedKvPack<T>::load(rows, p, d, head_dim, vectorized);
  float x[Pack<T>::size];
  loaded.unpack_into(x);
  PLLAVA_UNROLL
  for (float& v : x) v *= loaded.scale();
  return pack(x, T{});
}

// ---- checks on the host -------------------------------------------------------------------------

/// Whether rows can be read in packs: operands are 16-byte aligned, and head_dim (half of it with
/// rotary embedding) is a multiple of a pack.
template <class T>
bool can_vectorize(const Attention& params) {
  const auto aligned = [](const void* p) { return reinterpret_cast<std::uintptr_t>(p) % 16 == 0; };
  const int unit = Pack<T>::size * (params.rope != nullptr ? 2 : 1);
  return params.head_dim % unit == 0 && aligned(params.o.data) && aligned(params.qkv.data) &&
         aligned(params.keys) && aligned(params.values) && aligned(params.rope);
}

inline bool is_supported(const Attention& params) {
  return params.head_dim > 0 && params.head_dim <= kMaxHeadDim && params.num_kv_heads > 0 &&
         params.num_query_heads % params.num_kv_heads == 0 && params.output_rows <= params.rows &&
         params.o.type == params.qkv.type;
}

inline float softmax_scale(const Attention& params) {
  return 1.0f / std::sqrt(static_cast<float>(params.head_dim));
}

}  // namespace pllava::cuda::kernels
