// Bodies of calibration/input_sample.hpp.
#pragma once

#include <algorithm>
#include <cmath>

#include "pllava/calibration/input_sample.hpp"

namespace pllava {

PLLAVA_INLINE void InputSample::add(ConstView x) {
  if (seen_ == 0) {
    width_ = x.cols();
    sum_.assign(static_cast<std::size_t>(width_), 0.0);
    squares_ = sum_;
    rows_.reserve(static_cast<std::size_t>(kMaxRows * width_));
  }
  if (x.cols() != width_)
    throw ShapeError("InputSample", "expected rows of " + std::to_string(width_) + " values, got " +
                                        x.shape.str());
  std::vector<float> row(static_cast<std::size_t>(width_));
  for (Index r = 0; r < x.rows(); ++r, ++seen_) {
    for (std::size_t k = 0; k < row.size(); ++k) {
      row[k] = load_float(x.data, x.dtype, r * width_ + static_cast<Index>(k));
      sum_[k] += std::fabs(row[k]);
      squares_[k] += double{row[k]} * row[k];
    }
    if (seen_ % stride_ != 0) continue;
    if (kept() == kMaxRows) drop_every_second_row();
    rows_.insert(rows_.end(), row.begin(), row.end());
  }
}

PLLAVA_INLINE void InputSample::drop_every_second_row() {
  static_assert(kMaxRows % 2 == 0, "the next row added stays a multiple of the new stride");
  for (Index i = 1; 2 * i < kMaxRows; ++i)
    std::copy_n(rows_.begin() + 2 * i * width_, width_, rows_.begin() + i * width_);
  rows_.resize(static_cast<std::size_t>(kMaxRows / 2 * width_));
  stride_ *= 2;
}

PLLAVA_INLINE std::vector<float> InputSample::mean_of(const std::vector<double>& sums) const {
  std::vector<float> mean;
  mean.reserve(sums.size());
  for (const double sum : sums)
    mean.push_back(static_cast<float>(sum / static_cast<double>(std::max<Index>(seen_, 1))));
  return mean;
}

}  // namespace pllava
