// Sample rows of the input of a linear layer, for calibration.
#pragma once

#include <cstddef>
#include <vector>

#include "pllava/core/dtype.hpp"
#include "pllava/core/view.hpp"

namespace pllava {

/// Up to `max_rows` evenly spaced rows of the input of a linear layer, in the type that they were
/// added in: the first row added, then every `stride`-th.
class InputSample {
 public:
  /// Throws ArgumentError unless `max_rows` is a positive even number.
  explicit InputSample(Index max_rows);

  /// Adds x (N, K), f32 or bf16, in host memory. Throws ShapeError if K or the type changes.
  void add(ConstView x);

  Index seen() const noexcept { return seen_; }    ///< rows added
  Index width() const noexcept { return width_; }  ///< K
  Index kept() const noexcept { return kept_; }    ///< rows kept
  Index stride() const noexcept { return stride_; }
  /// Row `i` of those kept, in f32.
  std::vector<float> row(Index i) const;

 private:
  void drop_every_second_row();
  std::size_t row_bytes() const noexcept {
    return static_cast<std::size_t>(width_ * size_of(dtype_));
  }

  Index max_rows_;
  DType dtype_ = DType::f32;
  Index width_ = 0, seen_ = 0, kept_ = 0, stride_ = 1;
  std::vector<std::byte> rows_;
};

}  // namespace pllava

#ifndef PLLAVA_COMPILED
#include "pllava/calibration/detail/input_sample_inl.hpp"
#endif
