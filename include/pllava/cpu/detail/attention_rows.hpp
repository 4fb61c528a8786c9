// The qkv rows that attention reads, and helpers that its kernels share.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "pllava/core/backend.hpp"
#include "pllava/cpu/detail/kv_panels.hpp"

namespace pllava::cpu::detail {

/// Rotary position embedding in place: `angles` holds cos, then sin, of dim/2 frequencies.
inline void apply_rope(float* x, const float* angles, Index dim) {
  const Index half = dim / 2;
  for (Index i = 0; i < half; ++i) {
    const float a = x[i], b = x[i + half], cosine = angles[i], sine = angles[i + half];
    x[i] = a * cosine - b * sine;
    x[i + half] = b * cosine + a * sine;
  }
}

/// Stores a row of `count` values as a column of a panel of `columns` columns that interleaves
/// `kGroup` values.
template <Index kGroup, class T>
void store_column(T* column, Index columns, const T* row, Index count) {
  for (Index i = 0; i < count; i += kGroup)
    std::memcpy(static_cast<void*>(column + i * columns), row + i, kGroup * sizeof(T));
}

template <class T>
void convert_to_f32(const Kernels& kernels, float* dst, const T* src, Index n) {
  if constexpr (std::is_same_v<T, bf16>)
    kernels.bf16_to_float(dst, src, n);
  else
    std::memcpy(dst, src, static_cast<std::size_t>(n) * sizeof(float));
}

template <class T>
void convert_from_f32(const Kernels& kernels, T* dst, const float* src, Index n) {
  if constexpr (std::is_same_v<T, bf16>)
    kernels.float_to_bf16(dst, src, n);
  else
    std::memcpy(dst, src, static_cast<std::size_t>(n) * sizeof(float));
}

/// c (rows, 32) = a · b for a left operand of type Lhs and a panel b of type P; `k` is even.
template <class P, class Lhs>
void tile_matmul(const Kernels& kernels, Index rows, const Lhs* a, Index stride, const P* b,
                 Index k, float* c) {
  if constexpr (std::is_same_v<P, bf16>)
    kernels.tile_bf16(rows, a, stride, b, k / 2, c);
  else if constexpr (std::is_same_v<P, std::int8_t> && std::is_same_v<Lhs, bf16>)
    kernels.tile_bf16_int8(rows, a, stride, b, k / 2, c);
  else if constexpr (std::is_same_v<P, std::int8_t>)
    kernels.tile_f32_int8(rows, a, stride, b, k, c);
  else
    kernels.tile_f32(rows, a, stride, b, k, c);
}

/// Rows between a prefetch and its use. The stride between rows is too large for the hardware
/// prefetcher.
inline constexpr Index kPrefetchRows = 4;

/// Prefetches one head of a row.
template <class T>
void prefetch_head(const T* head, Index head_dim) {
  constexpr Index kCacheLine = 64 / sizeof(T);
  for (Index i = 0; i < head_dim; i += kCacheLine) __builtin_prefetch(head + i);
}

/// The qkv rows of one sequence, of type T, and the outputs of its last rows. The queries of a kv
/// head are ordered by output row, then by query head in the group.
template <class T>
struct AttentionRows {
  View o;         // of all sequences
  ConstView qkv;  // of all sequences
  const Heads& heads;
  const float* rope_table;  // see Rope; null: no RoPE
  /// Whether keys, and the queries that meet them, are rotated (core/rotation.hpp): in int8,
  /// because a few dimensions of keys are much larger than the others.
  bool rotates_keys;
  Mask mask;
  Index past;      // keys before those of the rows
  Index num_rows;  // of each sequence
  Index sequence;  // index of this one

  /// `head` counts query heads, key heads and value heads.
  const T* head(Index row, Index head) const {
    return qkv.as<T>() + (sequence * num_rows + row) * heads.qkv_width() + head * heads.head_dim;
  }
  const T* key(Index kv_head, Index row) const {
    return head(row, heads.num_query_heads + kv_head);
  }
  const T* value(Index kv_head, Index row) const { return key(heads.num_kv_heads + kv_head, row); }
  /// RoPE of a query or key, and its rotation.
  void apply_position(const Kernels& kernels, float* x, Index row) const {
    if (rope_table != nullptr)
      apply_rope(x, rope_table + (past + row) * heads.head_dim, heads.head_dim);
    if (rotates_keys) kernels.rotate(x, heads.head_dim);
  }

  Index num_output_rows() const { return std::min(num_rows, o.rows()); }
  /// Of each kv head.
  Index num_queries() const { return num_output_rows() * heads.group_size(); }
  Index row_of(Index query) const {
    return num_rows - num_output_rows() + query / heads.group_size();
  }
  Index query_head(Index kv_head, Index query) const {
    return kv_head * heads.group_size() + query % heads.group_size();
  }
  /// The query attends to the keys at positions below this.
  Index num_visible(Index query) const {
    return past + (mask == Mask::causal ? row_of(query) + 1 : num_rows);
  }
  const T* query(Index kv_head, Index query) const {
    return head(row_of(query), query_head(kv_head, query));
  }
  T* output(Index kv_head, Index query) const {
    const Index row = sequence * num_output_rows() + query / heads.group_size();
    return o.as<T>() + (row * heads.num_query_heads + query_head(kv_head, query)) * heads.head_dim;
  }
  /// Writes a query, after apply_position and scaled by 1/√head_dim, to `dst`. `f32_row` is a
  /// buffer of head_dim values.
  template <class Operand>
  void load_query(const Kernels& kernels, Operand* dst, float* f32_row, Index kv_head,
                  Index n) const {
    convert_to_f32(kernels, f32_row, query(kv_head, n), heads.head_dim);
    apply_position(kernels, f32_row, row_of(n));
    const float scale = 1.0f / std::sqrt(static_cast<float>(heads.head_dim));
    for (Index i = 0; i < heads.head_dim; ++i) f32_row[i] *= scale;
    convert_from_f32(kernels, dst, f32_row, heads.head_dim);
  }
};

}  // namespace pllava::cpu::detail
