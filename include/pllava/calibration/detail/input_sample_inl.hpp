// Bodies of calibration/input_sample.hpp.
#pragma once

#include <algorithm>
#include <cstring>
#include <string>

#include "pllava/calibration/input_sample.hpp"
#include "pllava/error.hpp"

namespace pllava {

PLLAVA_INLINE InputSample::InputSample(Index max_rows) : max_rows_(max_rows) {
  if (max_rows < 2 || max_rows % 2 != 0)
    throw ArgumentError("calibration: expected a positive even number of rows, got " +
                        std::to_string(max_rows));
}

PLLAVA_INLINE void InputSample::add(ConstView x) {
  if (seen_ == 0) width_ = x.cols(), dtype_ = x.dtype;
  if (x.cols() != width_ || x.dtype != dtype_)
    throw ShapeError("InputSample", "expected rows of " + std::to_string(width_) + " values in " +
                                        std::string(name_of(dtype_)) + ", got " + x.shape.str() +
                                        " in " + std::string(name_of(x.dtype)));
  for (Index r = 0; r < x.rows(); ++r, ++seen_) {
    if (seen_ % stride_ != 0) continue;
    if (kept_ == max_rows_) drop_every_second_row();
    const auto* row = x.as<std::byte>() + static_cast<std::size_t>(r) * row_bytes();
    rows_.insert(rows_.end(), row, row + row_bytes());
    ++kept_;
  }
}

/// The number of rows is even, so that the next row added stays a multiple of the new stride.
PLLAVA_INLINE void InputSample::drop_every_second_row() {
  kept_ /= 2;
  for (std::size_t i = 1; i < static_cast<std::size_t>(kept_); ++i)
    std::memcpy(&rows_[i * row_bytes()], &rows_[2 * i * row_bytes()], row_bytes());
  rows_.resize(static_cast<std::size_t>(kept_) * row_bytes());
  stride_ *= 2;
}

PLLAVA_INLINE std::vector<float> InputSample::row(Index i) const {
  std::vector<float> values;
  values.reserve(static_cast<std::size_t>(width_));
  for (Index k = 0; k < width_; ++k)
    values.push_back(load_float(rows_.data(), dtype_, i * width_ + k));
  return values;
}

}  // namespace pllava
