// Views as Eigen maps, to prototype a layer, a pooling or an analysis in Eigen. CMake component
// `eigen`; the rest of the library does not depend on Eigen.
#pragma once

#include <Eigen/Core>

#include "pllava/core/view.hpp"

namespace pllava {

/// A row-major f32 matrix in the memory of a View.
using EigenMap = Eigen::Map<Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>>;

/// The view as a (rows, cols) matrix, without a copy. The view must be in host memory and outlive
/// the map. Throws ShapeError for a type other than f32.
inline EigenMap as_eigen(const View& view) {
  if (view.dtype != DType::f32)
    throw ShapeError("as_eigen", "expected f32, got " + std::string(name_of(view.dtype)));
  return {view.as<float>(), view.rows(), view.cols()};
}

}  // namespace pllava
