// The concept of a backend: a value that owns memory, threads or streams and computes the verbs.
// Models are written once over these verbs (see ops.hpp) and do not depend on the device.
#pragma once

#include <concepts>
#include <memory>
#include <span>

#include "pllava/core/activation.hpp"
#include "pllava/core/host_tensor.hpp"
#include "pllava/core/pooling.hpp"
#include "pllava/core/view.hpp"

namespace pllava {

/// How a prepared weight is used.
enum class WeightRole {
  linear,   ///< (N, K) matrices, stacked along N, for `linear` and `residual`
  gate_up,  ///< two (F, K) matrices, gate and up, for `glu` (or `linear`, if there is no `glu`)
  table,    ///< (V, D) embedding table, for `embed`
  vector    ///< biases, norm gains, position tables: kept in f32
};

/// The format that `prepare` stores `parts` in. Only matrices of linear layers are quantized.
inline Quantization quantization_for(std::span<const HostTensor> parts, WeightRole role) {
  const bool is_matrix = role == WeightRole::linear || role == WeightRole::gate_up;
  return is_matrix ? parts[0].quantization : Quantization{};
}

/// Attention heads of one layer. A qkv row is [query heads | key heads | value heads], each of
/// head_dim values. Query head j reads kv head j / group_size() (grouped-query attention).
struct Heads {
  Index num_query_heads = 1;
  Index num_kv_heads = 1;
  Index head_dim = 1;

  Index group_size() const noexcept { return num_query_heads / num_kv_heads; }
  Index qkv_width() const noexcept { return (num_query_heads + 2 * num_kv_heads) * head_dim; }
};

enum class Mask { none, causal };

/// The rows of an attention call. Without a KV cache, they are `batch` independent sequences of
/// equal length. With a KV cache, they are appended after `past` rows (1, i32, in backend memory);
/// `bound` is an upper bound of past + rows, known on the host, that sizes grids and buffers.
struct Sequence {
  ConstView past;
  Index bound = 0;
  Index batch = 1;
  /// RoPE position of the first row of the KV cache. It grows when rows leave the cache, so that
  /// the keys of the rows that stay keep their positions.
  Index rope_offset = 0;
};

/// A linear layer: y = act(x · Wᵀ + b). `Weight` is the backend's type of a prepared weight.
template <class Weight>
struct Linear {
  Weight weight;  // (O, I)
  Weight bias;    // (O) or absent
  Index out = 0;
  Index in = 0;
};

enum class NormKind { layer, rms };

/// LayerNorm (with bias) or RMSNorm (without), statistics in f32.
template <class Weight>
struct Norm {
  NormKind kind = NormKind::layer;
  Weight gain;  // (D)
  Weight bias;  // (D) or absent
  float eps = 1e-5f;
};

/// Rotary position table: row p holds cos, then sin, of p · theta^(-2i/head_dim), i < head_dim/2.
template <class Weight>
struct Rope {
  Weight table;  // (context, head_dim)
};

/// Parameters of `attend`.
template <class Weight, class KvLayer>
struct Attention {
  Heads heads;
  const Rope<Weight>* rope = nullptr;  ///< rotates queries and keys; null: no rotation
  KvLayer* kv = nullptr;               ///< cache to append to and attend over; null: none
  Sequence sequence = {};
  Mask mask = Mask::none;
};

template <class B>
using AttentionOf = Attention<typename B::Weight, typename B::KvLayer>;

/// A backend has the verb `move_kv(layer, heads, to, from, rows)`: rows [from, from + rows) of a KV
/// cache move to `to`, which is below `from`; the ranges may overlap.
template <class B>
concept HasMoveKv = requires(B& be, typename B::KvLayer& layer, const Heads& heads, Index n) {
  be.move_kv(layer, heads, n, n, n);
};

/// Maximum number of rows that a model computes per call; it bounds scratch memory.
/// B::kMaxBatchRows, if the backend defines it.
template <class B>
constexpr Index max_batch_rows() noexcept {
  if constexpr (requires { B::kMaxBatchRows; })
    return B::kMaxBatchRows;
  else
    return 1024;
}

/// A backend has the fused verb `residual`, or `add` for its composition.
template <class B>
concept HasResidual = requires(B& be, View v, ConstView c, const Linear<typename B::Weight>& w) {
  be.residual(v, c, w);
}
|| requires(B& be, View v, ConstView c) {
  be.add(v, c);
};
/// A backend has the fused verb `glu`, or `act_mul` for its composition.
template <class B>
concept HasGlu = requires(B& be, View v, ConstView c, const Linear<typename B::Weight>& w) {
  be.glu(v, c, w, Activation::silu);
}
|| requires(B& be, View v, ConstView c) {
  be.act_mul(v, c, Activation::silu);
};

/// The required members. The verbs `residual_norm`, `preprocess`, `sample` and `step` are optional;
/// ops composes a verb that a backend does not define. Without `move_kv` sessions do not roll, see
/// SlideOptions.
template <class B>
concept Backend = HasResidual<B> && HasGlu<B> &&
    requires(B& be, View v, ConstView c, Shape s, DType t, Index n,
             std::span<const HostTensor> parts, const typename B::Weight& w, Heads heads,
             const Linear<typename B::Weight>& linear, const Norm<typename B::Weight>& norm,
             const AttentionOf<B>& attention, Grid g) {
  { be.fork() } -> std::same_as<B>;  // over the same device and weights, for another thread
  { be.allocate(n) } -> std::convertible_to<std::shared_ptr<void>>;
  { be.scratch(s, t) } -> std::same_as<View>;
  be.scope();
  { be.activation_dtype() } -> std::same_as<DType>;
  { be.prepare(parts, WeightRole::linear) } -> std::same_as<typename B::Weight>;
  static_cast<bool>(w);  // whether it was prepared: an absent bias is false
  { be.make_kv(heads, n) } -> std::same_as<typename B::KvLayer>;
  be.upload(v, static_cast<const void*>(nullptr));
  be.download(static_cast<void*>(nullptr), c);
  be.copy(v, c);
  be.linear(v, c, linear, Activation::none);
  be.norm(v, c, norm);
  be.attend(v, c, attention);
  be.embed(v, c, w);
  be.patchify(v, c, n);
  be.add_positions(v, c, w, w, n);
  be.select_patches(v, c, n);
  be.pool3d(v, c, g, g, PoolKind::average);
};

}  // namespace pllava
