// Views as Eigen maps: for whoever prototypes a layer, a pooling or an analysis in Eigen. Part of
// the component eigen; the library itself does not need it.
#pragma once

#include <Eigen/Core>

#include "pllava/core/view.hpp"

namespace pllava {

/// Row-major like every View, over its memory.
using EigenMap = Eigen::Map<Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>>;

/// The view as a (rows, cols) matrix, without a copy; valid as long as the view's memory, which
/// must be the host's. Throws ShapeError for a type other than f32.
inline EigenMap as_eigen(const View& view) {
  if (view.dtype != DType::f32)
    throw ShapeError("as_eigen", "expected f32, got " + std::string(name_of(view.dtype)));
  return {view.as<float>(), view.rows(), view.cols()};
}

}  // namespace pllava
