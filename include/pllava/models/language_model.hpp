// LLaMA decoder (reference section 6): embeddings to logits, over a KvCache.
// Threads: const after construction; share it, with a backend and a cache per thread.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <span>
#include <vector>

#include "pllava/core/control.hpp"
#include "pllava/core/ops.hpp"
#include "pllava/models/kv_cache.hpp"
#include "pllava/models/load_layers.hpp"
#include "pllava/models/model_config.hpp"

namespace pllava {

/// The tensors of a language model, relative to "language_model" (reference 7.3).
TensorTable language_tensors(const TextConfig& config);

/// Radians a position of rotary dimension i, 0 to head_dim/2 - 1.
float rope_frequency(const TextConfig& config, Index i);

template <Backend B>
class LanguageModel {
 public:
  /// Loads scope "language_model" ("model.layers...", "lm_head"). `prefill_chunk` bounds the
  /// scratch of a long prompt. Throws LoadError, OutOfMemoryError, ArgumentError (a chunk below 1).
  LanguageModel(B& be, const TextConfig& config, const WeightScope& scope,
                Index prefill_chunk = max_batch_rows<B>())
      : config_(config),
        heads_{config.heads, config.kv_heads, config.head_dim},
        prefill_chunk_(prefill_chunk) {
    if (prefill_chunk < 1)
      throw ArgumentError("prefill_chunk must be at least 1, got " + std::to_string(prefill_chunk));
    const ComponentWeights weights(scope, language_tensors(config));
    const ComponentWeights model = weights["model"];
    embed_tokens_ = load_weight(be, model["embed_tokens"], WeightRole::table);
    lm_head_ = load_linear(be, config.tied_embeddings ? model["embed_tokens"] : weights["lm_head"]);
    final_norm_ = load_rms_norm(be, model["norm"]);
    std::vector<Index> positions(static_cast<std::size_t>(rope_positions()));
    std::iota(positions.begin(), positions.end(), Index{0});
    rope_ = make_rope(be, positions);
    for (Index l = 0; l < config.layers; ++l) layers_.push_back(load_layer(be, model["layers"][l]));
  }

  const TextConfig& config() const noexcept { return config_; }

  /// An empty cache for `capacity` positions, at most the model's context. Throws ContextError.
  KvCache<B> make_cache(B& be, Index capacity) const {
    if (capacity > config_.context)
      throw ContextError("the requested KV cache", capacity, config_.context);
    return KvCache<B>(be, config_.layers, heads_, capacity);
  }

  /// ids (N) -> embeddings (N, D) f32. Throws ArgumentError for an id outside the vocabulary.
  Tensor<B> embed(B& be, std::span<const std::int32_t> ids) const {
    for (const std::int32_t id : ids)
      if (id < 0 || id >= config_.vocab)
        throw ArgumentError("token id " + std::to_string(id) + " is outside the vocabulary of " +
                            std::to_string(config_.vocab));
    const auto n = static_cast<Index>(ids.size());
    Tensor<B> device_ids(be, {n}, DType::i32);
    be.upload(device_ids, ids.data());
    Tensor<B> x(be, {n, config_.width}, DType::f32);
    ops::embed(be, x, device_ids, embed_tokens_);
    return x;
  }

  /// Appends x (N, D) to the cache. `logits` (1, V) f32 receives the logits of the last row; an
  /// empty view omits them. Rows run in chunks, so scratch memory does not grow with N. x is
  /// overwritten.
  /// Throws ContextError before anything happens; after CancelledError the cache is as before.
  /// The chunk size changes the result by rounding only. `prefix`, if not null, receives the rows
  /// for remove_rows(); the cache must be empty.
  void forward(B& be, View x, KvCache<B>& kv, View logits, const RunControl& control = {},
               PrefixRows<B>* prefix = nullptr) const {
    if (prefix != nullptr) *prefix = make_prefix(be, x.rows());
    append(be, x, kv, logits, control, prefix, nullptr);
  }

  /// Appends the rows of x (N, D) that are left of `count` rows: row n was row places[n], and keeps
  /// its RoPE position; the next row follows the last of the `count`. Throws as forward;
  /// ArgumentError for places that do not rise within [0, count), ContextError for positions beyond
  /// those of RoPE.
  void forward_at(B& be, View x, std::span<const Index> places, Index count, KvCache<B>& kv,
                  const RunControl& control = {}) const {
    const Index N = x.rows(), first = kv.length() + kv.rope_offset();
    if (static_cast<Index>(places.size()) != N ||
        std::adjacent_find(places.begin(), places.end(), std::greater_equal<>()) != places.end() ||
        (N > 0 && (places.front() < 0 || places.back() >= count)))
      throw ArgumentError("the places of " + std::to_string(N) + " rows must rise below " +
                          std::to_string(count));
    kv.require_room(N);
    const Index positions = kv.rope_offset() + count - N + kv.capacity();
    if (positions > rope_positions())
      throw ContextError("the positions of the sequence", positions, rope_positions());
    // RoPE reads its table by the number of the row, so the table gets the rows' own positions.
    std::vector<Index> own(static_cast<std::size_t>(kv.length()));
    for (const Index place : places) own.push_back(first + place);
    const auto rope = make_rope(be, own);
    append(be, x, kv, View{}, control, nullptr, &rope);
    kv.skip_positions(count - N);
  }

  /// Whether remove_rows() can remove `count` rows: RoPE has positions for as many rows after them
  /// as the cache can hold.
  bool can_remove_rows(const KvCache<B>& kv, Index count) const noexcept {
    return HasMoveKv<B> && !kv.skips_positions() &&
           kv.rope_offset() + count + kv.capacity() <= rope_positions();
  }

  /// Removes the `count` rows after the prefix from the cache. The rows after them are unchanged:
  /// they have attended to the removed rows, and keep the positions of their keys. The keys of the
  /// prefix move next to them. Throws ArgumentError (see can_remove_rows, KvCache::remove).
  void remove_rows(B& be, KvCache<B>& kv, const PrefixRows<B>& prefix,
                   Index count) const requires HasMoveKv<B> {
    if (!can_remove_rows(kv, count))
      throw ArgumentError("cannot remove " + std::to_string(count) + " rows: RoPE has " +
                          std::to_string(rope_positions()) + " positions");
    kv.remove(be, prefix.rows, count);
    if (prefix.rows == 0) return;
    kv.rewrite_first(be, prefix.rows, [&](const Sequence& sequence) {
      auto scope = be.scope();
      const View none =
          be.scratch({1, heads_.num_query_heads * heads_.head_dim}, be.activation_dtype())
              .slice(0, 0);
      for (Index l = 0; l < config_.layers; ++l)
        ops::attend(be, none, prefix.qkv[static_cast<std::size_t>(l)],
                    {heads_, &rope_, &kv.layer(l), sequence, Mask::causal});
    });
  }

  /// One decode step: appends the token `id` (1) i32, in backend memory, and writes the logits
  /// (1, V) f32 of the next token. Throws ContextError before anything happens.
  void step(B& be, ConstView id, KvCache<B>& kv, View logits) const {
    auto scope = be.scope();
    const Sequence sequence = kv.next_positions(1);
    View x = be.scratch({1, config_.width}, DType::f32);  // (1, D)
    const Buffers b(be, *this, 1);
    ops::step(be, sequence, [&] {
      ops::embed(be, x, id, embed_tokens_);
      run_layers(be, b, x, kv, sequence, logits, {}, rope_);
    });
    kv.commit(be, 1);
  }

 private:
  struct Layer {
    Norm<typename B::Weight> attn_norm, ffn_norm;
    Linear<typename B::Weight> qkv, o, gate_up, down;
  };

  /// Appends x: see forward. `rope`, if not null, is read at the rows' numbers in the cache.
  void append(B& be, View x, KvCache<B>& kv, View logits, const RunControl& control,
              PrefixRows<B>* prefix, const Rope<typename B::Weight>* rope) const {
    ops::detail::require_rows("LanguageModel x", x, x.rows(), config_.width);
    const Index N = x.rows(), before = kv.length();
    kv.require_room(N);
    try {
      for (Index n = 0; n < N; n += prefill_chunk_) {
        const Index rows = std::min(prefill_chunk_, N - n);
        const bool last = n + rows == N;
        auto scope = be.scope();
        const Buffers b(be, *this, rows);
        Sequence sequence = kv.next_positions(rows);
        if (rope != nullptr) sequence.rope_offset = 0;
        run_layers(be, b, x.slice(n, rows), kv, sequence, last ? logits : View{}, control,
                   rope != nullptr ? *rope : rope_, prefix);
        kv.commit(be, rows);
        control.at("prefill", n + rows, N);
      }
    } catch (...) {
      kv.truncate(be, before);
      throw;
    }
  }

  Norm<typename B::Weight> load_rms_norm(B& be, const ComponentWeights& weights) const {
    return load_norm(be, weights, NormKind::rms, config_.norm_eps);
  }

  Layer load_layer(B& be, const ComponentWeights& weights) const {
    const ComponentWeights attention = weights["self_attn"], mlp = weights["mlp"];
    Layer layer;
    layer.attn_norm = load_rms_norm(be, weights["input_layernorm"]);
    layer.ffn_norm = load_rms_norm(be, weights["post_attention_layernorm"]);
    layer.qkv = load_qkv(be, attention);
    layer.o = load_linear(be, attention["o_proj"]);
    layer.gate_up = load_gate_up(be, mlp);
    layer.down = load_linear(be, mlp["down_proj"]);
    return layer;
  }

  /// Positions of the RoPE table: the context, and room for rows that leave a rolling cache.
  Index rope_positions() const noexcept {
    constexpr Index kRolling = 32768;
    return std::max(config_.context, std::min(4 * config_.context, kRolling));
  }

  PrefixRows<B> make_prefix(B& be, Index rows) const {
    PrefixRows<B> prefix;
    prefix.rows = rows;
    for (Index l = 0; l < config_.layers; ++l)
      prefix.qkv.emplace_back(be, Shape{rows, heads_.qkv_width()}, be.activation_dtype());
    return prefix;
  }

  /// The table of these positions.
  Rope<typename B::Weight> make_rope(B& be, std::span<const Index> at) const {
    const auto positions = static_cast<Index>(at.size());
    const Index dh = config_.head_dim, half = dh / 2;
    std::vector<float> frequencies;
    for (Index i = 0; i < half; ++i) frequencies.push_back(rope_frequency(config_, i));
    std::vector<float> table(static_cast<std::size_t>(positions * dh));
    for (Index p = 0; p < positions; ++p)
      for (Index i = 0; i < half; ++i) {
        // Inverse frequencies and angles are f32, as in the reference.
        const float angle = static_cast<float>(at[static_cast<std::size_t>(p)]) *
                            frequencies[static_cast<std::size_t>(i)];
        table[static_cast<std::size_t>(p * dh + i)] = std::cos(angle);
        table[static_cast<std::size_t>(p * dh + half + i)] = std::sin(angle);
      }
    const HostTensor host{
        DType::f32, {positions, dh}, reinterpret_cast<const std::byte*>(table.data()), nullptr};
    return {be.prepare({&host, 1}, WeightRole::vector)};
  }

  /// Activations of N rows, in scratch.
  struct Buffers {
    Buffers(B& be, const LanguageModel& m, Index N)
        : h(be.scratch({N, m.config_.width}, be.activation_dtype())),
          qkv(be.scratch({N, m.heads_.qkv_width()}, be.activation_dtype())),
          o(be.scratch({N, m.heads_.num_query_heads * m.heads_.head_dim}, be.activation_dtype())),
          g(be.scratch({N, m.config_.ffn}, be.activation_dtype())) {}
    View h;    // (N, D)
    View qkv;  // (N, (Hq+2Hkv)·dh)
    View o;    // (N, Hq·dh)
    View g;    // (N, F)
  };

  /// Runs all layers over x (N, D) in place, and the head if `logits` is not empty. `prefix`, if
  /// not null, receives the qkv rows.
  void run_layers(B& be, const Buffers& buffers, View x, KvCache<B>& kv, const Sequence& sequence,
                  View logits, const RunControl& control, const Rope<typename B::Weight>& rope,
                  PrefixRows<B>* prefix = nullptr) const {
    auto [h, qkv, o, g] = buffers;
    ops::norm(be, h, x, layers_[0].attn_norm);
    for (Index l = 0; l < config_.layers; ++l) {
      control.check("prefill");
      const bool last = l + 1 == config_.layers;
      const Layer& w = layers_[static_cast<std::size_t>(l)];
      const Norm<typename B::Weight>& next =
          last ? final_norm_ : layers_[static_cast<std::size_t>(l) + 1].attn_norm;
      ops::linear(be, qkv, h, w.qkv);
      if (prefix != nullptr)
        ops::copy(be, prefix->qkv[static_cast<std::size_t>(l)].view().slice(kv.length(), x.rows()),
                  qkv);
      // Only the last row of the last layer reaches the logits: other rows stop after their keys
      // and values.
      const Index M = !last ? x.rows() : !logits.empty() ? 1 : 0;
      x = x.slice(x.rows() - M, M), h = h.slice(0, M), o = o.slice(0, M), g = g.slice(0, M);
      ops::attend(be, o, qkv, {heads_, &rope, &kv.layer(l), sequence, Mask::causal});
      ops::residual(be, x, h, o, w.o, &w.ffn_norm);  // x += o·Woᵀ;  h = ffn_norm(x)
      ops::glu(be, g, h, w.gate_up, config_.activation);
      ops::residual(be, x, h, g, w.down, &next);  // x += g·Wdᵀ;  h = next(x)
    }
    if (!logits.empty()) ops::linear(be, logits, h, lm_head_);
  }

  TextConfig config_;
  Heads heads_;
  Index prefill_chunk_;
  typename B::Weight embed_tokens_;
  std::vector<Layer> layers_;
  Norm<typename B::Weight> final_norm_;
  Linear<typename B::Weight> lm_head_;
  Rope<typename B::Weight> rope_;
};

}  // namespace pllava

#ifndef PLLAVA_COMPILED
#include "pllava/models/detail/components_inl.hpp"
#endif
