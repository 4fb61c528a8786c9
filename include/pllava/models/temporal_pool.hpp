// Adaptive pooling over (t, h, w) (reference section 4, paper section 3). It has no parameters and
// turns an image model into a video model.
#pragma once

#include "pllava/core/ops.hpp"
#include "pllava/models/model_config.hpp"

namespace pllava {

/// A pooling is any type with this call operator (see examples/custom_pool.cpp). The other members
/// are optional: `output_tokens` lets a session check its room before the vision tower runs,
/// `commutes_with_linear` lets the projector pool early, `per_frame` allows frames to be encoded
/// one by one.
class TemporalPool {
 public:
  explicit TemporalPool(const PoolConfig& config) : config_(config) {}

  const PoolConfig& config() const noexcept { return config_; }
  /// Weighted averages commute with a following linear map, maxima do not.
  bool commutes_with_linear() const noexcept { return config_.kind != PoolKind::maximum; }
  /// Rows after pooling a grid of this size.
  Index output_tokens(const Grid& in) const noexcept { return output_grid(in).count(); }
  /// The pooling of each frame by itself: the grid keeps its frames, (t, h, w) -> (t, h', w').
  TemporalPool per_frame() const {
    TemporalPool pool = *this;
    pool.keeps_frames_ = true;
    return pool;
  }

  /// x (T·H·W, D) of grid `in` -> (t·h·w, D). Throws ShapeError if the grid does not fit the rows.
  template <Backend B>
  Tensor<B> operator()(B& be, ConstView x, const Grid& in) const {
    const Grid out = output_grid(in);
    Tensor<B> y(be, {out.count(), x.cols()}, x.dtype);
    ops::pool3d(be, y, x, in, out, config_.kind);
    return y;
  }

 private:
  Grid output_grid(const Grid& in) const noexcept {
    Grid out = config_.output;
    if (keeps_frames_) out.t = in.t;
    return out;
  }

  PoolConfig config_;
  bool keeps_frames_ = false;
};

}  // namespace pllava
