// Moves rows of the KV panels to lower positions.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "pllava/cpu/detail/kv_panels.hpp"

namespace pllava::cpu::detail {

/// Moves rows [from, from + rows) of every head to `to` < from; `element` is the size of a stored
/// value in bytes, `interleave` see KvPanelLayout. The ranges may overlap: rows move in ascending
/// order.
inline void move_kv(const ExecutionContext& context, const Heads& heads, const KvPanels& kv,
                    Index element, Index interleave, Index to, Index from, Index rows) {
  const KvPanelLayout layout(heads.head_dim, interleave);
  const auto move = [&](std::byte* base, Index dst, Index src, Index values) {
    std::memmove(base + dst * element, base + src * element,
                 static_cast<std::size_t>(values * element));
  };
  const auto move_keys = [&](std::byte* keys) {
    for (Index r = 0; r < rows;) {
      const Index dst = to + r, src = from + r;
      const Index run = std::min({rows - r, kPanelWidth - dst % kPanelWidth,
                                  kPanelWidth - src % kPanelWidth});  // within one panel
      for (Index d = 0; d < layout.key_dim; d += interleave)
        move(keys, layout.key_offset(dst) + d * kPanelWidth,
             layout.key_offset(src) + d * kPanelWidth, run * interleave);
      r += run;
    }
  };
  const auto move_value = [&](std::byte* values, Index r, Index d) {  // one row of one panel
    for (Index i = 0; i < kPanelWidth; ++i)
      move(values,
           layout.value_offset(to + r, d, kv.capacity) + (to + r) % interleave + i * interleave,
           layout.value_offset(from + r, d, kv.capacity) + (from + r) % interleave + i * interleave,
           1);
  };
  const auto move_values = [&](std::byte* values) {
    // Whole groups of interleaved positions are contiguous where both ranges are aligned alike.
    const bool alike = (from - to) % interleave == 0;
    const Index head = alike ? std::min(rows, (interleave - to % interleave) % interleave) : rows;
    const Index body = (rows - head) / interleave * interleave;
    for (Index d = 0; d < layout.value_dim; d += kPanelWidth) {
      for (Index r = 0; r < head; ++r) move_value(values, r, d);
      if (body > 0)
        move(values, layout.value_offset(to + head, d, kv.capacity),
             layout.value_offset(from + head, d, kv.capacity), body * kPanelWidth);
      for (Index r = head + body; r < rows; ++r) move_value(values, r, d);
    }
  };
  context.pool.run(heads.num_kv_heads, [&](Index head) {
    move_keys(static_cast<std::byte*>(kv.keys) +
              head * layout.keys_per_head(kv.capacity) * element);
    move_values(static_cast<std::byte*>(kv.values) +
                head * layout.values_per_head(kv.capacity) * element);
    if (kv.scales == nullptr) return;
    for (float* scales : {kv.scales + kv.key_scale(head, 0), kv.scales + kv.value_scale(head, 0)})
      std::memmove(scales + to, scales + from, static_cast<std::size_t>(rows) * sizeof(float));
  });
}

}  // namespace pllava::cpu::detail
