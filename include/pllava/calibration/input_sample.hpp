// Statistics and sample rows of the input of a linear layer, for calibration.
#pragma once

#include <vector>

#include "pllava/core/view.hpp"

namespace pllava {

/// The input of a projection: means over all rows, and up to kMaxRows evenly spaced rows. Takes
/// 4·K·kMaxRows bytes for K channels, for any number of rows.
class InputSample {
 public:
  static constexpr Index kMaxRows = 128;

  /// Adds x (N, K), f32 or bf16, in host memory. Throws ShapeError if K changes.
  void add(ConstView x);

  Index seen() const noexcept { return seen_; }    ///< rows added
  Index width() const noexcept { return width_; }  ///< K
  /// Rows kept, (n, K): the first row added, then every `stride`-th.
  const std::vector<float>& rows() const noexcept { return rows_; }
  Index kept() const noexcept {
    return width_ == 0 ? 0 : static_cast<Index>(rows_.size()) / width_;
  }
  Index stride() const noexcept { return stride_; }
  std::vector<float> mean() const { return mean_of(sum_); }             ///< mean |x| (K)
  std::vector<float> mean_square() const { return mean_of(squares_); }  ///< mean x² (K)

 private:
  std::vector<float> mean_of(const std::vector<double>& sums) const;
  void drop_every_second_row();

  Index width_ = 0, seen_ = 0, stride_ = 1;
  std::vector<double> sum_, squares_;
  std::vector<float> rows_;
};

}  // namespace pllava

#ifndef PLLAVA_COMPILED
#include "pllava/calibration/detail/input_sample_inl.hpp"
#endif
