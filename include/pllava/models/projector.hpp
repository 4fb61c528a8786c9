// The two-layer projector from vision features to the language model's width (reference section 4).
#pragma once

#include "pllava/core/ops.hpp"
#include "pllava/models/load_layers.hpp"
#include "pllava/models/model_config.hpp"

namespace pllava {

/// The tensors of a projector, relative to "multi_modal_projector" (reference 7.3).
TensorTable projector_tensors(const ProjectorConfig& config);

template <Backend B>
class Projector {
 public:
  /// Loads scope "multi_modal_projector". Throws LoadError, OutOfMemoryError.
  Projector(B& be, const ProjectorConfig& config, const WeightScope& scope)
      : Projector(be, config, ComponentWeights(scope, projector_tensors(config))) {}

  const ProjectorConfig& config() const noexcept { return config_; }

  /// x (N, I) -> (N, O): linear_1, activation, linear_2, token by token.
  Tensor<B> operator()(B& be, ConstView x) const { return output(be, hidden(be, x)); }

  /// Projects and pools: x (T·H·W, I) -> rows of the pooled grid (·, O) f32. `pool` is any type
  /// with the call operator of TemporalPool. A pooling that commutes with linear maps is applied
  /// before linear_2, which then runs on the pooled rows only; equal up to rounding. With
  /// ProjectorConfig::pools_first, x is pooled (LLaVA-NeXT-Video).
  template <class Pool>
  Tensor<B> operator()(B& be, ConstView x, const Pool& pool, const Grid& in) const {
    if (config_.pools_first) return (*this)(be, pool(be, x, in));
    if constexpr (requires { pool.commutes_with_linear(); }) {
      if (pool.commutes_with_linear()) return output(be, pool(be, hidden(be, x), in));
    }
    return pool(be, (*this)(be, x), in);
  }

  /// act(linear_1(x)): (N, I) -> (N, O) in the activation type.
  Tensor<B> hidden(B& be, ConstView x) const {
    Tensor<B> y(be, {x.rows(), config_.output}, be.activation_dtype());
    ops::linear(be, y, x, linear_1_, config_.activation);
    return y;
  }

  /// linear_2(h): (N, O) -> (N, O) f32.
  Tensor<B> output(B& be, ConstView h) const {
    Tensor<B> y(be, {h.rows(), config_.output}, DType::f32);
    ops::linear(be, y, h, linear_2_);
    return y;
  }

 private:
  Projector(B& be, const ProjectorConfig& config, const ComponentWeights& weights)
      : config_(config),
        linear_1_(load_linear(be, weights["linear_1"])),
        linear_2_(load_linear(be, weights["linear_2"])) {}

  ProjectorConfig config_;
  Linear<typename B::Weight> linear_1_, linear_2_;
};

}  // namespace pllava

#ifndef PLLAVA_COMPILED
#include "pllava/models/detail/components_inl.hpp"
#endif
