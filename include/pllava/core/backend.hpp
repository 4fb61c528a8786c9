// What a backend is: a value that owns memory, threads or streams, and computes the verbs. Models
// are written once over these verbs (see ops.hpp) and never learn which device runs them.
#pragma once

#include <concepts>
#include <span>

#include "pllava/core/activation.hpp"
#include "pllava/core/host_tensor.hpp"
#include "pllava/core/pooling.hpp"
#include "pllava/core/view.hpp"

namespace pllava {

/// What a weight is prepared for.
enum class WeightRole {
  linear,   ///< (N, K) matrices, stacked along N, for `linear` and `residual`
  gate_up,  ///< exactly two (F, K) matrices, gate and up, for `glu`; for `linear` without that verb
  table,    ///< (V, D) rows that are looked up, for `embed`
  vector    ///< biases, norm gains, position tables: kept in f32
};

/// How parts that are prepared for `role` are to be kept: only matrices of products are rounded.
inline Quantization quantization_for(std::span<const HostTensor> parts, WeightRole role) {
  const bool product = role == WeightRole::linear || role == WeightRole::gate_up;
  return product ? parts[0].quantization : Quantization{};
}

/// Attention heads of one layer; a qkv row is [query·dim | kv·dim | kv·dim].
struct Heads {
  Index query = 1;
  Index kv = 1;
  Index dim = 1;
  Index qkv_width() const noexcept { return (query + 2 * kv) * dim; }
};

enum class Mask { none, causal };

/// Which rows a call works on. Without a cache, the rows are `batch` independent sequences of equal
/// length. With one, they follow `past` rows (1, i32, in backend memory); `bound` is a host-side
/// upper bound of past + rows, for grids and buffers.
struct Sequence {
  View past;
  Index bound = 0;
  Index batch = 1;
};

/// y = act(x · Wᵀ + b)
template <class B>
struct Linear {
  typename B::Weight weight;  // (O, I)
  typename B::Weight bias;    // (O) or absent
  Index out = 0;
  Index in = 0;
};

enum class NormKind { layer, rms };

/// LayerNorm (with bias) or RMSNorm (without), statistics in f32.
template <class B>
struct Norm {
  NormKind kind = NormKind::layer;
  typename B::Weight gain;  // (D)
  typename B::Weight bias;  // (D) or absent
  float eps = 1e-5f;
};

/// Rotary positions: row p holds cos then sin of p · theta^(-2i/dim), i < dim/2.
template <class B>
struct Rope {
  typename B::Weight table;  // (context, dim)
};

/// Rows that models work on at a time, so that scratch is bounded: B::kRowsAtOnce, where a backend
/// has one.
template <class B>
constexpr Index rows_at_once() noexcept {
  if constexpr (requires { B::kRowsAtOnce; })
    return B::kRowsAtOnce;
  else
    return 1024;
}

/// A backend has the fused verb, or the addition that its composition ends with.
template <class B>
concept AddsResiduals = requires(B& be, View v, const Linear<B>& w) {
  be.residual(v, v, w);
}
|| requires(B& be, View v) {
  be.add(v, v);
};
/// A backend has the fused verb, or the product that its composition ends with.
template <class B>
concept Gates = requires(B& be, View v, const Linear<B>& w) {
  be.glu(v, v, w, Activation::silu);
}
|| requires(B& be, View v) {
  be.act_mul(v, v, Activation::silu);
};

/// The required members. Further verbs (`residual_norm`, `preprocess`, `sample`, `step`) are
/// optional; ops composes what a backend does not have.
template <class B>
concept Backend = AddsResiduals<B> && Gates<B> &&
    requires(B& be, View v, Shape s, DType t, Index n, std::span<const HostTensor> parts,
             const typename B::Weight& w, typename B::KvLayer& kv, const Linear<B>& linear,
             const Norm<B>& norm, const Rope<B>* rope, Sequence seq, Heads heads, Grid g) {
  { be.fork() } -> std::same_as<B>;  // over the same device and weights, for another thread
  { be.allocate(n) } -> std::convertible_to<std::shared_ptr<void>>;
  { be.scratch(s, t) } -> std::same_as<View>;
  be.scope();
  { be.activation_dtype() } -> std::same_as<DType>;
  { be.prepare(parts, WeightRole::linear) } -> std::same_as<typename B::Weight>;
  { be.make_kv(heads, n) } -> std::same_as<typename B::KvLayer>;
  be.upload(v, static_cast<const void*>(nullptr));
  be.download(static_cast<void*>(nullptr), v);
  be.copy(v, v);
  be.linear(v, v, linear, Activation::none);
  be.norm(v, v, norm);
  be.attend(v, v, heads, rope, &kv, seq, Mask::causal);
  be.embed(v, v, w);
  be.patchify(v, v, n);
  be.add_positions(v, v, w, w, n);
  be.select_patches(v, v, n);
  be.pool3d(v, v, g, g, PoolKind::average);
};

}  // namespace pllava
