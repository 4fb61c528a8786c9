// Cholesky decomposition of large matrices, whose products run on the CPU backend.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "pllava/calibration/detail/host_product.hpp"
#include "pllava/cpu/backend.hpp"
#include "pllava/error.hpp"

namespace pllava::detail {

/// Columns of a block.
inline constexpr Index kCholeskyBlock = 128;

/// Replaces the lower triangle of a symmetric positive definite matrix (n, n) by L with A = L·Lᵀ;
/// the rest is undefined. Throws ArgumentError if A is not positive definite.
inline void cholesky(cpu::Backend& be, std::vector<float>& a, Index n) {
  const auto at = [&](Index r, Index c) -> float& {
    return a[static_cast<std::size_t>(r * n + c)];
  };
  for (Index begin = 0; begin < n; begin += kCholeskyBlock) {
    const Index width = std::min(kCholeskyBlock, n - begin), end = begin + width;
    if (begin > 0) {  // subtract L[begin.., ..begin] · L[begin..end, ..begin]ᵀ
      const std::vector<float> left = columns(a, n, begin, n, 0, begin);
      const std::vector<float> right = columns(a, n, begin, end, 0, begin);
      const std::vector<float> product = host_product(be, left, right, begin);
      be.pool().run(n - begin, [&](Index r) {
        for (Index c = 0; c < width; ++c)
          at(begin + r, begin + c) -= product[static_cast<std::size_t>(r * width + c)];
      });
    }
    const auto solve_row = [&](Index r) {
      for (Index c = begin; c < std::min(r, end); ++c) {
        float sum = at(r, c);
        for (Index k = begin; k < c; ++k) sum -= at(r, k) * at(c, k);
        at(r, c) = sum / at(c, c);
      }
    };
    for (Index r = begin; r < end; ++r) {
      solve_row(r);
      float square = at(r, r);
      for (Index k = begin; k < r; ++k) square -= at(r, k) * at(r, k);
      if (!(square > 0)) throw ArgumentError("calibration: activations are not finite");
      at(r, r) = std::sqrt(square);
    }
    be.pool().run(n - end, [&](Index r) { solve_row(end + r); });
  }
}

}  // namespace pllava::detail
