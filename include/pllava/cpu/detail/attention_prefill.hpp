// Attention of many queries: 32 at a time, they are the columns of the matrix products.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "pllava/cpu/detail/attention_rows.hpp"

namespace pllava::cpu::detail {

/// Keys of one step of the online softmax. Their panels and scores fit the L1 cache.
inline constexpr Index kPrefillKeyBlock = 64;
static_assert(kPrefillKeyBlock % kPanelWidth == 0);

/// Maximum rows of a tile, which are keys or dimensions of a panel.
inline constexpr Index kPrefillTileRows = 8;
static_assert(kPrefillTileRows <= kMaxTileRows && kPanelWidth % kPrefillTileRows == 0);

/// Buffers of the tasks. P: type of the panels, Operand: type of both operands.
template <class P, class Operand>
struct PrefillBuffers {
  PrefillBuffers(const ExecutionContext& context, const KvPanelLayout& layout, Index head_dim)
      : queries(context.per_thread<Operand>(layout.key_dim * kPanelWidth)),
        scores(context.per_thread<float>(kPrefillKeyBlock * kPanelWidth)),
        probs(context.per_thread<Operand>(kPrefillKeyBlock * kPanelWidth)),
        output(context.per_thread<float>(layout.value_dim * kPanelWidth)),
        converted_panel(context.per_thread<Operand>(
            std::is_same_v<P, Operand> ? 0
                                       : kPanelWidth * std::max(layout.key_dim, kPrefillKeyBlock))),
        f32_row(context.per_thread<float>(head_dim)),
        operand_row(context.per_thread<Operand>(layout.key_dim)) {}

  PerThread<Operand> queries;  // [dim/interleave][32][interleave]
  PerThread<float> scores;     // [key][32]
  PerThread<Operand> probs;    // [key/interleave][32][interleave]
  PerThread<float> output;     // [dim][32]
  PerThread<Operand> converted_panel;
  PerThread<float> f32_row;
  PerThread<Operand> operand_row;
};

/// Attention of the queries [first, first + num_queries) of kv head `head`, at most 32, over all
/// keys that they attend to, which are head `panel_head` of the panels. Each lane has a query, so
/// nothing is summed or moved across lanes. The panels are left operands: scores = K · Qᵀ, output =
/// Vᵀ · probs. T: type of qkv, P: of the panels, Operand: of both operands.
template <class T, class P, class Operand>
class PrefillTask {
 public:
  PrefillTask(const Kernels& kernels, const AttentionRows<T>& rows, const KvPanels& kv,
              const PrefillBuffers<P, Operand>& buffers, Index thread, Index head, Index panel_head,
              Index first, Index num_queries)
      : kernels_(kernels),
        rows_(rows),
        layout_(rows.heads.head_dim, kInterleave<P>),
        panels_(rows.heads, kv, panel_head),
        tile_rows_(kernels.max_tile_rows < kPrefillTileRows ? kPrefillTileRows / 2
                                                            : kPrefillTileRows),
        head_(head),
        first_(first),
        num_queries_(num_queries),
        queries_(buffers.queries[thread]),
        scores_(buffers.scores[thread]),
        probs_(buffers.probs[thread]),
        output_(buffers.output[thread]),
        converted_panel_(buffers.converted_panel[thread]),
        f32_row_(buffers.f32_row[thread]),
        operand_row_(buffers.operand_row[thread]) {}

  void run() {
    load_queries();
    const Index num_keys = rows_.num_visible(first_ + num_queries_ - 1);
    for (Index begin = 0; begin < num_keys; begin += kPrefillKeyBlock) {
      const Index n = std::min(kPrefillKeyBlock, round_up(num_keys - begin, tile_rows_));
      compute_scores(begin, n);
      update_softmax_state(begin, n);
      accumulate_values(begin, n);
    }
    write_output();
  }

 private:
  static constexpr Index kPair = kInterleave<Operand>;

  void load_queries() {
    std::fill_n(queries_, layout_.key_dim * kPanelWidth, Operand{});  // columns without a query
    std::fill_n(output_, layout_.value_dim * kPanelWidth, 0.0f);
    std::fill_n(operand_row_, layout_.key_dim, Operand{});  // padding
    std::fill_n(running_max_, kPanelWidth, -std::numeric_limits<float>::infinity());
    std::fill_n(running_sum_, kPanelWidth, 0.0f);
    for (Index c = 0; c < num_queries_; ++c) {
      prefetch_head(rows_.query(head_, first_ + std::min(c + kPrefetchRows, num_queries_ - 1)),
                    rows_.heads.head_dim);
      rows_.load_query(kernels_, operand_row_, f32_row_, head_, first_ + c);
      store_column<kPair>(queries_ + c * kPair, kPanelWidth, operand_row_, layout_.key_dim);
    }
  }

  /// A panel of k rows as an operand.
  const Operand* as_operand(const P* panel, Index k) {
    if constexpr (std::is_same_v<P, Operand>) {
      return panel;
    } else {
      kernels_.unpack_bf16_panel(converted_panel_, panel, k / 2);
      return converted_panel_;
    }
  }

  /// scores = K · Qᵀ for the n keys from `begin` on.
  void compute_scores(Index begin, Index n) {
    for (Index p = 0; p < n; p += kPanelWidth) {
      const Operand* keys = as_operand(panels_.keys(begin + p), layout_.key_dim);
      for (Index r = 0; r < std::min(kPanelWidth, n - p); r += tile_rows_)
        tile_matmul(kernels_, tile_rows_, keys + r * kPair, kPanelWidth, queries_, layout_.key_dim,
                    scores_ + (p + r) * kPanelWidth);
    }
  }

  /// probs = exp(scores - running max), and the running max, running sum and rescale factor.
  void update_softmax_state(Index begin, Index n) {
    for (Index c = 0; c < kPanelWidth; ++c) {
      const Index visible = rows_.num_visible(first_ + std::min(c, num_queries_ - 1));
      num_visible_[c] = static_cast<std::int32_t>(std::clamp<Index>(visible - begin, 0, n));
    }
    const SoftmaxColumns block{.num_keys = n,
                               .scores = scores_,
                               .num_visible = num_visible_,
                               .running_max = running_max_,
                               .running_sum = running_sum_,
                               .rescale = rescale_};
    if constexpr (std::is_same_v<Operand, bf16>)
      kernels_.softmax_columns_bf16(block, probs_);
    else
      kernels_.softmax_columns_f32(block, probs_);
  }

  /// output = output · rescale + Vᵀ · probs.
  void accumulate_values(Index begin, Index n) {
    const Index head_dim = rows_.heads.head_dim;
    for (Index d = 0; d < head_dim; d += kPanelWidth) {
      const Operand* values = as_operand(panels_.values(begin, d), n);
      for (Index r = 0; r < std::min(kPanelWidth, head_dim - d); r += tile_rows_) {
        tile_matmul(kernels_, tile_rows_, values + r * kPair, kPanelWidth, probs_, n, tile_);
        kernels_.scale_add_columns(output_ + (d + r) * kPanelWidth, rescale_, tile_, tile_rows_);
      }
    }
  }

  void write_output() {
    const Index head_dim = rows_.heads.head_dim;
    for (Index c = 0; c < num_queries_; ++c) {
      const float inverse_sum = 1.0f / running_sum_[c];
      for (Index d = 0; d < head_dim; ++d) f32_row_[d] = output_[d * kPanelWidth + c] * inverse_sum;
      convert_from_f32(kernels_, rows_.output(head_, first_ + c), f32_row_, head_dim);
    }
  }

  const Kernels& kernels_;
  const AttentionRows<T>& rows_;
  const KvPanelLayout layout_;
  const HeadPanels<P> panels_;
  const Index tile_rows_;
  const Index head_, first_, num_queries_;
  Operand* const queries_;
  float* const scores_;
  Operand* const probs_;
  float* const output_;
  Operand* const converted_panel_;
  float* const f32_row_;
  Operand* const operand_row_;
  alignas(64) float tile_[kPrefillTileRows * kPanelWidth];
  alignas(64) float running_max_[kPanelWidth], running_sum_[kPanelWidth], rescale_[kPanelWidth];
  alignas(64) std::int32_t num_visible_[kPanelWidth];
};

/// Attention of the first `count` queries of the kv heads [first_head, first_head + num_heads),
/// whose panels `kv` holds.
template <class T, class P, class Operand>
void attend_prefill_heads(const ExecutionContext& context, const AttentionRows<T>& rows,
                          const KvPanels& kv, Index first_head, Index num_heads, Index count) {
  const Index blocks = ceil_div(count, kPanelWidth);
  const StackArena::Scope scope(context.arena);
  const Index head_dim = rows.heads.head_dim;
  const PrefillBuffers<P, Operand> buffers(context, KvPanelLayout(head_dim, kInterleave<P>),
                                           head_dim);
  context.pool.run(num_heads * blocks, [&](Index task, Index thread) {
    // With a causal mask the last queries take longest: they come first.
    const Index first = (blocks - 1 - task % blocks) * kPanelWidth, head = task / blocks;
    PrefillTask<T, P, Operand>(context.kernels, rows, kv, buffers, thread, first_head + head, head,
                               first, std::min(kPanelWidth, count - first))
        .run();
  });
}

/// Scratch memory of dequantized keys and values, unless one head needs more.
inline constexpr Index kDequantizedBytes = Index{16} << 20;

/// The first `num_keys` keys and values of the int8 heads [first, first + count), dequantized to
/// panels in scratch memory.
template <class Operand>
KvPanels dequantized_heads(const ExecutionContext& context, const Heads& heads, const KvPanels& kv,
                           Index first, Index count, Index num_keys) {
  constexpr Index kElement = sizeof(Operand);
  const Kernels& kernels = context.kernels;
  const KvPanelLayout layout(heads.head_dim, kInterleave<Operand>);
  const Index capacity = round_up(num_keys, kPanelWidth);
  auto* const keys = static_cast<Operand*>(
      context.arena.allocate(count * layout.keys_per_head(capacity) * kElement));
  auto* const values = static_cast<Operand*>(
      context.arena.allocate(count * layout.values_per_head(capacity) * kElement));
  const auto dequantize = [&](Operand* to, const std::int8_t* panel, const float* column_scales,
                              const float* row_scales, Index k) {
    if constexpr (std::is_same_v<Operand, bf16>)
      kernels.dequantize_panel_bf16(to, panel, column_scales, row_scales, k);
    else
      kernels.dequantize_panel_f32(to, panel, column_scales, row_scales, k);
  };
  const Index key_panels = capacity / kPanelWidth, value_panels = layout.value_dim / kPanelWidth;
  context.pool.run(count * (key_panels + value_panels), [&](Index task) {
    const Index head = task / (key_panels + value_panels), n = task % (key_panels + value_panels);
    const HeadPanels<std::int8_t> panels(heads, kv, first + head);
    if (n < key_panels) {
      const Index p = n * kPanelWidth;
      dequantize(keys + head * layout.keys_per_head(capacity) + layout.key_offset(p),
                 panels.keys(p), panels.key_scales(p), nullptr, layout.key_dim);
    } else {
      const Index d = (n - key_panels) * kPanelWidth;
      dequantize(
          values + head * layout.values_per_head(capacity) + layout.value_offset(0, d, capacity),
          panels.values(0, d), nullptr, panels.value_scales(0), capacity);
    }
  });
  return {capacity, keys, values, nullptr};
}

/// Attention of the first `count` queries of each kv head. int8 panels are dequantized once for all
/// queries, a few heads at a time.
template <class T, class P, class Operand>
void attend_prefill(const ExecutionContext& context, const AttentionRows<T>& rows,
                    const KvPanels& kv, Index count) {
  const Heads& heads = rows.heads;
  if constexpr (std::is_same_v<P, std::int8_t>) {
    const Index num_keys = rows.past + rows.num_rows;
    const Index head_bytes = 2 * num_keys * heads.head_dim * Index{sizeof(Operand)};
    const Index at_once = std::clamp<Index>(kDequantizedBytes / std::max<Index>(head_bytes, 1), 1,
                                            heads.num_kv_heads);
    for (Index first = 0; first < heads.num_kv_heads; first += at_once) {
      const Index n = std::min(at_once, heads.num_kv_heads - first);
      const StackArena::Scope scope(context.arena);
      const KvPanels panels = dequantized_heads<Operand>(context, heads, kv, first, n, num_keys);
      attend_prefill_heads<T, Operand, Operand>(context, rows, panels, first, n, count);
    }
  } else {
    attend_prefill_heads<T, P, Operand>(context, rows, kv, 0, heads.num_kv_heads, count);
  }
}

}  // namespace pllava::cpu::detail
