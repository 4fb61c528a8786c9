// Products of f32 matrices in host memory, computed by the CPU backend.
#pragma once

#include <cstddef>
#include <vector>

#include "pllava/core/ops.hpp"
#include "pllava/cpu/backend.hpp"

namespace pllava::detail {

/// a · bᵀ (rows of a, rows of b), for matrices of `depth` columns. `be` computes in f32.
inline std::vector<float> host_product(cpu::Backend& be, const std::vector<float>& a,
                                       const std::vector<float>& b, Index depth) {
  const auto rows = static_cast<Index>(a.size()) / depth,
             cols = static_cast<Index>(b.size()) / depth;
  const HostTensor right{
      DType::f32, {cols, depth}, reinterpret_cast<const std::byte*>(b.data()), nullptr};
  const cpu::Backend::Linear linear{be.prepare({&right, 1}, WeightRole::linear), {}, cols, depth};
  std::vector<float> y(static_cast<std::size_t>(rows * cols));
  const View out{y.data(), DType::f32, {rows, cols}};
  auto scope = be.scope();
  ops::linear(be, out, ConstView{a.data(), DType::f32, {rows, depth}}, linear);
  return y;
}

/// Rows [row, row_end) and columns [column, column_end) of a matrix with `width` columns.
inline std::vector<float> columns(const std::vector<float>& a, Index width, Index row,
                                  Index row_end, Index column, Index column_end) {
  std::vector<float> part;
  part.reserve(static_cast<std::size_t>((row_end - row) * (column_end - column)));
  for (Index r = row; r < row_end; ++r)
    part.insert(part.end(), a.begin() + r * width + column, a.begin() + r * width + column_end);
  return part;
}

}  // namespace pllava::detail
