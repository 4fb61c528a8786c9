// Shapes: up to four dimensions, row-major, slowest first.
#pragma once

#include <array>
#include <concepts>
#include <limits>
#include <string>

#include "pllava/config.hpp"
#include "pllava/error.hpp"

namespace pllava {

/// The most elements that are counted. Their bytes, at 8 each, still fit an Index.
inline constexpr Index kMaxCount = Index{1} << 59;

/// a * b, at most kMaxCount.
constexpr Index saturated_product(Index a, Index b) noexcept {
  Index product = 0;
  return __builtin_mul_overflow(a, b, &product) || product > kMaxCount ? kMaxCount : product;
}

/// The dimensions of a tensor.
class Shape {
 public:
  static constexpr int kMaxRank = 4;

  constexpr Shape() = default;
  template <std::integral... Dims>
  requires(sizeof...(Dims) > 0 && sizeof...(Dims) <= kMaxRank) constexpr Shape(Dims... dims)
      : dims_{static_cast<Index>(dims)...}, rank_(sizeof...(Dims)) {}

  constexpr int rank() const noexcept { return rank_; }
  constexpr Index operator[](int axis) const noexcept {
    return dims_[static_cast<std::size_t>(axis)];
  }
  /// Number of elements; 1 for rank 0. At most kMaxCount: no memory holds more.
  constexpr Index count() const noexcept {
    Index n = 1;
    for (int i = 0; i < rank_; ++i) n = saturated_product(n, (*this)[i]);
    return n;
  }
  constexpr bool operator==(const Shape&) const = default;

  /// "(577, 1024)"
  std::string str() const {
    std::string text = "(";
    for (int i = 0; i < rank_; ++i) text += (i ? ", " : "") + std::to_string((*this)[i]);
    return text + ")";
  }

 private:
  std::array<Index, kMaxRank> dims_{};
  int rank_ = 0;
};

/// Extent of the patch grid of a video: t frames of h rows and w columns, w fastest.
struct Grid {
  Index t = 1;
  Index h = 1;
  Index w = 1;

  /// Number of cells, at most kMaxCount.
  constexpr Index count() const noexcept { return saturated_product(saturated_product(t, h), w); }
  constexpr bool operator==(const Grid&) const = default;
  std::string str() const {
    return std::to_string(t) + "x" + std::to_string(h) + "x" + std::to_string(w);
  }
};

}  // namespace pllava
