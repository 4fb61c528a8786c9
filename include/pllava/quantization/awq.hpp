// Scales of activation-aware weight quantization (AWQ, arXiv 2306.00978), folded into a model's
// weights. calibration/calibrate.hpp finds them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "pllava/models/model_config.hpp"
#include "pllava/weights/weight_source.hpp"

namespace pllava {

/// A value for each projection of a layer.
template <class T>
struct PerProjection {
  std::array<T, kProjections.size()> each = {};
  T& operator[](Projection p) noexcept { return each[static_cast<std::size_t>(p)]; }
  const T& operator[](Projection p) const noexcept { return each[static_cast<std::size_t>(p)]; }
};

/// How the matrices of a projection are quantized, and the errors measured on calibration data.
struct ProjectionScales {
  std::vector<float> scales;      ///< (K), above 0
  std::vector<float> importance;  ///< mean x² (K); empty: all channels count equally
  double alpha = 0;               ///< 0: all scales are 1
  double unscaled_error = 0;      ///< of the output, see output_error, without scales
  double error = 0;               ///< with scales and importance; at most unscaled_error
};

/// Scales of every layer of a language model.
struct Calibration {
  std::vector<PerProjection<ProjectionScales>> layers;

  double mean_unscaled_error() const { return mean(&ProjectionScales::unscaled_error); }
  double mean_error() const { return mean(&ProjectionScales::error); }

 private:
  double mean(double ProjectionScales::*error) const;
};

/// The same model with the scales folded into its weights, as TensorSpec::awq says. It computes the
/// same up to the rounding of f32, and loses less when its matrices are quantized. `weights` is the
/// root scope; scaled tensors are f32 copies. Throws ArgumentError for scales of another model or
/// not above 0; the scope throws it for a tensor that is quantized already.
WeightScope awq_scaled(WeightScope weights, const TextConfig& config, Calibration calibration);

}  // namespace pllava

#ifndef PLLAVA_COMPILED
#include "pllava/quantization/detail/awq_inl.hpp"
#endif
