// The two-layer projector from vision features to the language model's width (reference section 4).
#pragma once

#include "pllava/core/ops.hpp"
#include "pllava/models/load_layers.hpp"
#include "pllava/models/model_config.hpp"
#include "pllava/models/temporal_pool.hpp"

namespace pllava {

template <Backend B>
class Projector {
 public:
  /// Loads scope "multi_modal_projector". Throws LoadError, OutOfMemoryError.
  Projector(B& be, const ProjectorConfig& config, const WeightScope& scope)
      : config_(config),
        linear_1_(ops::load_linear(be, scope["linear_1"], config.output, config.input, true)),
        linear_2_(ops::load_linear(be, scope["linear_2"], config.output, config.output, true)) {}

  const ProjectorConfig& config() const noexcept { return config_; }

  /// x (N, I) -> (N, O): linear_1, activation, linear_2, token by token.
  Tensor<B> operator()(B& be, ConstView x) const { return output(be, hidden(be, x)); }

  /// Projects and pools: x (T·H·W, I) -> (t·h·w, O) f32. A pooling that commutes with linear maps
  /// is applied before linear_2, which then runs on the pooled rows only; equal up to rounding.
  Tensor<B> operator()(B& be, ConstView x, const TemporalPool& pool, const Grid& in) const {
    if (!pool.commutes_with_linear()) return pool(be, (*this)(be, x), in);
    return output(be, pool(be, hidden(be, x), in));
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
  ProjectorConfig config_;
  Linear<typename B::Weight> linear_1_, linear_2_;
};

}  // namespace pllava
