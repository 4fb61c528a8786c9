// Appends keys and values to their panels.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "pllava/cpu/detail/attention_rows.hpp"

namespace pllava::cpu::detail {

/// Rows of one task of append_kv.
inline constexpr Index kAppendRows = 64;
static_assert(kAppendRows % 2 == 0);

/// Stores the keys, after RoPE and rotation, and values of the rows in panels of type E; int8
/// panels get a scale for each row of a head.
template <class T, class E>
void append_kv(const ExecutionContext& context, const AttentionRows<T>& rows, const KvPanels& kv) {
  const Kernels& kernels = context.kernels;
  const Heads& heads = rows.heads;
  const Index head_dim = heads.head_dim, past = rows.past;
  constexpr Index kGroup = kInterleave<E>;
  const KvPanelLayout layout(head_dim, kGroup);
  const Index blocks = ceil_div(rows.num_rows, kAppendRows) + 1;
  // Blocks start at even positions, so that no two tasks write to the same pair of values.
  const Index odd = past % 2;
  const StackArena::Scope scope(context.arena);
  const auto f32_rows = context.per_thread<float>(head_dim);
  const auto panel_rows = context.per_thread<E>(layout.key_dim);
  context.pool.run(heads.num_kv_heads * blocks, [&](Index task, Index thread) {
    const Index head = task / blocks, block = task % blocks;
    const Index begin = std::max<Index>(0, block * kAppendRows - odd);
    const Index end = std::min(rows.num_rows, (block + 1) * kAppendRows - odd);
    E* keys = static_cast<E*>(kv.keys) + head * layout.keys_per_head(kv.capacity);
    E* values = static_cast<E*>(kv.values) + head * layout.values_per_head(kv.capacity);
    float* const f32_row = f32_rows[thread];
    E* const row = panel_rows[thread];
    std::fill(row + head_dim, row + layout.key_dim, E{});  // padding
    const auto convert_row = [&](Index scale) {
      if constexpr (std::is_same_v<E, std::int8_t>)
        kv.scales[scale] = kernels.quantize_row(row, f32_row, head_dim);
      else
        convert_from_f32(kernels, row, f32_row, head_dim);
    };
    for (Index r = begin; r < end; ++r) {
      const Index p = past + r, ahead = std::min(r + kPrefetchRows, end - 1);
      prefetch_head(rows.key(head, ahead), head_dim);
      prefetch_head(rows.value(head, ahead), head_dim);
      convert_to_f32(kernels, f32_row, rows.key(head, r), head_dim);
      rows.apply_position(kernels, f32_row, r);
      convert_row(kv.key_scale(head, p));
      store_column<kGroup>(keys + layout.key_offset(p), kPanelWidth, row, layout.key_dim);

      convert_to_f32(kernels, f32_row, rows.value(head, r), head_dim);
      convert_row(kv.value_scale(head, p));
      for (Index d = 0; d < head_dim; d += kPanelWidth) {
        E* value = values + layout.value_offset(p, d, kv.capacity) + p % kGroup;
        for (Index i = 0; i < std::min(kPanelWidth, head_dim - d); ++i)
          value[i * kGroup] = row[d + i];
      }
    }
  });
}

}  // namespace pllava::cpu::detail
