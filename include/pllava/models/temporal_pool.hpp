// Adaptive pooling over (t, h, w) (reference section 4, paper section 3): what makes an image model
// understand video, without a parameter.
#pragma once

#include "pllava/core/ops.hpp"
#include "pllava/models/model_config.hpp"

namespace pllava {

/// A pooling is any type with this call operator; see also examples/custom_pool.cpp.
class TemporalPool {
 public:
  explicit TemporalPool(const PoolConfig& config) : config_(config) {}

  /// Average windows commute with a following linear map, maxima do not.
  bool commutes_with_linear() const noexcept { return config_.kind == PoolKind::average; }
  const PoolConfig& config() const noexcept { return config_; }

  /// x (T·H·W, D) of grid `in` -> (t·h·w, D). Throws ShapeError if the grid does not fit the rows.
  template <Backend B>
  Tensor<B> operator()(B& be, ConstView x, const Grid& in) const {
    Tensor<B> y(be, {config_.output.count(), x.cols()}, x.dtype);
    ops::pool3d(be, y, x, in, config_.output, config_.kind);
    return y;
  }

 private:
  PoolConfig config_;
};

}  // namespace pllava
