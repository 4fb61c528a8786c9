// The KV cache and the verb `attend` of the CPU backend: online softmax over blocks of keys, never
// a full score matrix. Keys and values are stored as panels of the matrix kernels, so scores and
// outputs are two matrix products.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <type_traits>

#include "pllava/cpu/backend.hpp"
#include "pllava/cpu/detail/attention_append.hpp"
#include "pllava/cpu/detail/attention_decode.hpp"
#include "pllava/cpu/detail/attention_prefill.hpp"
#include "pllava/cpu/detail/kv_move.hpp"

namespace pllava::cpu {

namespace detail {

/// Attention of all queries: blocks of 32, and a rest that is worth one, as columns; others as
/// rows.
template <class T, class P, class Operand>
void attend_panels(const ExecutionContext& context, const AttentionRows<T>& rows,
                   const KvPanels& kv) {
  const Index count = rows.num_queries(), rest = count % kPanelWidth;
  const Index prefill = rest < kMinPrefillQueries ? count - rest : count;
  if (prefill > 0) attend_prefill<T, P, Operand>(context, rows, kv, prefill);
  if (prefill < count) attend_decode<T, P, Operand>(context, rows, kv, prefill);
}

}  // namespace detail

PLLAVA_INLINE KvLayer Backend::make_kv(const Heads& heads, Index capacity) {
  KvLayer kv;
  kv.capacity = detail::round_up(capacity, kPanelWidth);
  const bool pairs = dtype_ == DType::bf16 && !options_.int8_kv;
  const detail::KvPanelLayout layout(heads.head_dim, pairs ? 2 : 1);
  const Index element = options_.int8_kv ? 1 : size_of(dtype_);
  // calloc gives zero padding, and pages that are never written do not become resident.
  const auto zeroed = [](Index size) -> std::shared_ptr<void> {
    const auto bytes = static_cast<std::size_t>(size);
    void* p = std::calloc(std::max<std::size_t>(bytes, 64), 1);
    if (p == nullptr) throw OutOfMemoryError("the key-value cache", bytes);
    return {p, [](void* q) { std::free(q); }};
  };
  kv.keys = zeroed(heads.num_kv_heads * layout.keys_per_head(kv.capacity) * element);
  kv.values = zeroed(heads.num_kv_heads * layout.values_per_head(kv.capacity) * element);
  if (options_.int8_kv) kv.scales = zeroed(heads.num_kv_heads * 2 * kv.capacity * 4);
  return kv;
}

PLLAVA_INLINE void Backend::move_kv(KvLayer& kv, const Heads& heads, Index to, Index from,
                                    Index rows) {
  const bool pairs = dtype_ == DType::bf16 && !options_.int8_kv;
  const detail::KvPanels panels{kv.capacity, kv.keys.get(), kv.values.get(),
                                static_cast<float*>(kv.scales.get())};
  detail::move_kv(context(), heads, panels, options_.int8_kv ? 1 : size_of(dtype_), pairs ? 2 : 1,
                  to, from, rows);
}

PLLAVA_INLINE void Backend::attend(View o, ConstView qkv, const Attention& attention) {
  const detail::ExecutionContext context = this->context();
  const Index num_rows = qkv.rows() / attention.sequence.batch;
  const auto run = [&]<class T, class Operand>(T, Operand) {
    const auto& [heads, rope, kv, sequence, mask] = attention;
    const float* const rope_table =
        rope != nullptr ? rope->table.floats() + sequence.rope_offset * heads.head_dim : nullptr;
    if (kv != nullptr) {
      const detail::KvPanels panels{kv->capacity, kv->keys.get(), kv->values.get(),
                                    static_cast<float*>(kv->scales.get())};
      const detail::AttentionRows<T> rows{.o = o,
                                          .qkv = qkv,
                                          .heads = heads,
                                          .rope_table = rope_table,
                                          .rotates_keys = panels.scales != nullptr,
                                          .mask = mask,
                                          .past = *sequence.past.as<std::int32_t>(),
                                          .num_rows = num_rows,
                                          .sequence = 0};
      if (panels.scales != nullptr) {
        detail::append_kv<T, std::int8_t>(context, rows, panels);
        detail::attend_panels<T, std::int8_t, Operand>(context, rows, panels);
      } else {
        detail::append_kv<T, T>(context, rows, panels);
        detail::attend_panels<T, T, Operand>(context, rows, panels);
      }
      return;
    }
    // One sequence at a time, in panels in scratch memory, of the type of the operands. Keys and
    // values after the last row have probability zero, but must be finite.
    auto scope = this->scope();
    constexpr DType kOperand = std::is_same_v<Operand, bf16> ? DType::bf16 : DType::f32;
    const detail::KvPanelLayout layout(heads.head_dim, detail::kInterleave<Operand>);
    const Index capacity = detail::round_up(num_rows, kPanelWidth);
    const View keys = scratch({heads.num_kv_heads * layout.keys_per_head(capacity)}, kOperand);
    const View values = scratch({heads.num_kv_heads * layout.values_per_head(capacity)}, kOperand);
    std::memset(keys.data, 0, static_cast<std::size_t>(keys.bytes()));
    std::memset(values.data, 0, static_cast<std::size_t>(values.bytes()));
    const detail::KvPanels panels{capacity, keys.data, values.data, nullptr};
    for (Index b = 0; b < sequence.batch; ++b) {
      const detail::AttentionRows<T> rows{.o = o,
                                          .qkv = qkv,
                                          .heads = heads,
                                          .rope_table = rope_table,
                                          .rotates_keys = false,
                                          .mask = mask,
                                          .past = 0,
                                          .num_rows = num_rows,
                                          .sequence = b};
      detail::append_kv<T, Operand>(context, rows, panels);
      detail::attend_panels<T, Operand, Operand>(context, rows, panels);
    }
  };
  if (dtype_ == DType::f32)
    run(float{}, float{});
  else if (kernels_->bf16_lhs_dtype == DType::bf16)
    run(bf16{}, bf16{});
  else
    run(bf16{}, float{});
}

}  // namespace pllava::cpu
