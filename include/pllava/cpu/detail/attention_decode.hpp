// Attention of few queries: they are the rows of the matrix products.
#pragma once

#include <algorithm>
#include <limits>
#include <type_traits>

#include "pllava/cpu/detail/attention_rows.hpp"

namespace pllava::cpu::detail {

/// Keys of one step of the online softmax.
inline constexpr Index kDecodeKeyBlock = 256;
static_assert(kDecodeKeyBlock % kPanelWidth == 0);

/// Queries of a kv head from which attend_prefill is faster: half of its columns are used.
inline constexpr Index kMinPrefillQueries = kPanelWidth / 2;
/// Maximum queries of attend_decode.
inline constexpr Index kMaxDecodeQueries = kMinPrefillQueries - 1;

/// Buffers of the tasks. `padded_queries` are the rows of all tiles of a task.
template <class Lhs>
struct DecodeBuffers {
  DecodeBuffers(const ExecutionContext& context, const KvPanelLayout& layout, Index head_dim,
                Index padded_queries)
      : queries(context.per_thread<Lhs>(layout.key_dim * padded_queries)),
        probs(context.per_thread<Lhs>(kDecodeKeyBlock * padded_queries)),
        scores(context.per_thread<float>(kDecodeKeyBlock * padded_queries)),
        output(context.per_thread<float>(layout.value_dim * padded_queries)),
        f32_row(context.per_thread<float>(head_dim)),
        lhs_row(context.per_thread<Lhs>(layout.key_dim)) {}

  PerThread<Lhs> queries;   // [dim/interleave][row][interleave]
  PerThread<Lhs> probs;     // [key/interleave][row][interleave]
  PerThread<float> scores;  // [key/32][row][32]
  PerThread<float> output;  // [dim/32][row][32]
  PerThread<float> f32_row;
  PerThread<Lhs> lhs_row;
};

/// Attention of the queries [first, first + num_queries) of one kv head over all keys that they
/// attend to. T: type of qkv, P: of the panels, Lhs: of left operands.
template <class T, class P, class Lhs>
class DecodeTask {
 public:
  DecodeTask(const Kernels& kernels, const AttentionRows<T>& rows, const KvPanels& kv,
             const DecodeBuffers<Lhs>& buffers, Index thread, Index tile_rows, Index padded_queries,
             Index head, Index first, Index num_queries)
      : kernels_(kernels),
        rows_(rows),
        layout_(rows.heads.head_dim, kInterleave<P>),
        panels_(rows.heads, kv, head),
        tile_rows_(tile_rows),
        padded_queries_(padded_queries),
        head_(head),
        first_(first),
        num_queries_(num_queries),
        queries_(buffers.queries[thread]),
        probs_(buffers.probs[thread]),
        scores_(buffers.scores[thread]),
        output_(buffers.output[thread]),
        f32_row_(buffers.f32_row[thread]),
        lhs_row_(buffers.lhs_row[thread]) {}

  void run() {
    load_queries();
    const Index num_keys = rows_.num_visible(first_ + num_queries_ - 1);
    for (Index begin = 0; begin < num_keys; begin += kDecodeKeyBlock) {
      const Index n = std::min(kDecodeKeyBlock, round_up(num_keys - begin, kPanelWidth));
      compute_scores(begin, n);
      update_softmax_state(begin, n);
      accumulate_values(begin, n);
    }
    write_output();
  }

 private:
  static constexpr Index kPair = kInterleave<Lhs>;

  void load_queries() {
    std::fill_n(queries_, layout_.key_dim * padded_queries_, Lhs{});  // padding rows
    std::fill_n(probs_, kDecodeKeyBlock * padded_queries_, Lhs{});    // padding rows
    std::fill_n(output_, layout_.value_dim * padded_queries_, 0.0f);
    std::fill_n(lhs_row_, layout_.key_dim, Lhs{});  // padding
    std::fill_n(running_max_, kMaxDecodeQueries, -std::numeric_limits<float>::infinity());
    std::fill_n(running_sum_, kMaxDecodeQueries, 0.0f);
    for (Index r = 0; r < num_queries_; ++r) {
      rows_.load_query(kernels_, lhs_row_, f32_row_, head_, first_ + r);
      store_column<kPair>(queries_ + r * kPair, padded_queries_, lhs_row_, layout_.key_dim);
    }
  }

  /// scores = Q · Kᵀ for the n keys from `begin` on.
  void compute_scores(Index begin, Index n) {
    for (Index p = 0; p < n; p += kPanelWidth)
      for (Index r = 0; r < num_queries_; r += tile_rows_)
        tile_matmul(kernels_, tile_rows_, queries_ + r * kPair, padded_queries_,
                    panels_.keys(begin + p), layout_.key_dim,
                    scores_ + p * padded_queries_ + r * kPanelWidth);
  }

  /// probs = exp(scores - running max), and the running max, running sum and rescale factor.
  void update_softmax_state(Index begin, Index n) {
    for (Index r = 0; r < num_queries_; ++r)
      num_visible_[r] = std::clamp<Index>(rows_.num_visible(first_ + r) - begin, 0, n);
    const SoftmaxRows block{.num_queries = num_queries_,
                            .stride = padded_queries_,
                            .num_keys = n,
                            .scores = scores_,
                            .key_scales = panels_.key_scales(begin),
                            .value_scales = panels_.value_scales(begin),
                            .num_visible = num_visible_,
                            .running_max = running_max_,
                            .running_sum = running_sum_,
                            .rescale = rescale_};
    if constexpr (std::is_same_v<Lhs, bf16>)
      kernels_.softmax_rows_bf16(block, probs_);
    else
      kernels_.softmax_rows_f32(block, probs_);
  }

  /// output = output · rescale + probs · V.
  void accumulate_values(Index begin, Index n) {
    for (Index d = 0; d < layout_.value_dim; d += kPanelWidth)
      for (Index t = 0; t < num_queries_; t += tile_rows_) {
        tile_matmul(kernels_, tile_rows_, probs_ + t * kPair, padded_queries_,
                    panels_.values(begin, d), n, tile_);
        for (Index r = t; r < std::min(num_queries_, t + tile_rows_); ++r)
          kernels_.scale_add(output_ + d * padded_queries_ + r * kPanelWidth, rescale_[r],
                             tile_ + (r - t) * kPanelWidth, kPanelWidth);
      }
  }

  void write_output() {
    const Index head_dim = rows_.heads.head_dim;
    for (Index r = 0; r < num_queries_; ++r)
      for (Index d = 0; d < head_dim; d += kPanelWidth) {
        float* values = output_ + d * padded_queries_ + r * kPanelWidth;
        for (Index i = 0; i < kPanelWidth; ++i) values[i] /= running_sum_[r];
        convert_from_f32(kernels_, rows_.output(head_, first_ + r) + d, values,
                         std::min(kPanelWidth, head_dim - d));
      }
  }

  const Kernels& kernels_;
  const AttentionRows<T>& rows_;
  const KvPanelLayout layout_;
  const HeadPanels<P> panels_;
  const Index tile_rows_, padded_queries_;
  const Index head_, first_, num_queries_;
  Lhs *const queries_, *const probs_;
  float *const scores_, *const output_, *const f32_row_;
  Lhs* const lhs_row_;
  alignas(64) float tile_[kMaxTileRows * kPanelWidth];
  float running_max_[kMaxDecodeQueries], running_sum_[kMaxDecodeQueries];
  float rescale_[kMaxDecodeQueries];
  Index num_visible_[kMaxDecodeQueries];
};

/// Attention of the queries from `first` on, at most kMaxDecodeQueries of each kv head.
template <class T, class P, class Lhs>
void attend_decode(const ExecutionContext& context, const AttentionRows<T>& rows,
                   const KvPanels& kv, Index first) {
  const Kernels& kernels = context.kernels;
  const Heads& heads = rows.heads;
  const Index count = rows.num_queries() - first;
  const Index tiles = ceil_div(count, kernels.max_tile_rows);
  const Index tile_rows = kernels.padded_rows(ceil_div(count, tiles));
  // A task reads the keys and values once for all tiles, unless threads would get no task.
  const Index tiles_per_task = heads.num_kv_heads < context.pool.size() ? 1 : tiles;
  const Index tasks = tiles / tiles_per_task, padded_queries = tiles_per_task * tile_rows;
  const StackArena::Scope scope(context.arena);
  const DecodeBuffers<Lhs> buffers(context, KvPanelLayout(heads.head_dim, kInterleave<P>),
                                   heads.head_dim, padded_queries);
  context.pool.run(heads.num_kv_heads * tasks, [&](Index task, Index thread) {
    const Index head = task / tasks, begin = first + task % tasks * padded_queries;
    DecodeTask<T, P, Lhs>(kernels, rows, kv, buffers, thread, tile_rows, padded_queries, head,
                          begin, std::min(padded_queries, rows.num_queries() - begin))
        .run();
  });
}

}  // namespace pllava::cpu::detail
