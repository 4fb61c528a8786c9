// Folds the scales of activation-aware weight quantization (AWQ, arXiv 2306.00978) into the weights
// of a model. calibration/calibrate.hpp computes the scales.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "pllava/models/model_config.hpp"
#include "pllava/weights/weight_source.hpp"

namespace pllava {

/// A value per projection of a layer.
template <class T>
struct PerProjection {
  std::array<T, kProjections.size()> each = {};
  T& operator[](Projection p) noexcept { return each[static_cast<std::size_t>(p)]; }
  const T& operator[](Projection p) const noexcept { return each[static_cast<std::size_t>(p)]; }
};

/// AWQ scales of a projection, and the output errors on calibration data (see output_error).
struct ProjectionScales {
  std::vector<float> scales;      ///< (K), positive
  std::vector<float> importance;  ///< mean x² (K); empty: all channels equally
  double alpha = 0;               ///< 0: all scales are 1
  double unscaled_error = 0;      ///< without scales and importance
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

/// The same weights with the scales folded in, as TensorSpec::awq defines. The model's results are
/// equal up to f32 rounding; int4 quantization of these weights has smaller errors. `weights` is
/// the root scope; scaled tensors are f32 copies. Throws ArgumentError for scales that do not fit
/// the model or are not positive; the returned scope throws it for a quantized tensor.
WeightScope awq_scaled(WeightScope weights, const TextConfig& config, Calibration calibration);

}  // namespace pllava

#ifndef PLLAVA_COMPILED
#include "pllava/quantization/detail/awq_inl.hpp"
#endif
