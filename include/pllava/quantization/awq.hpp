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

/// The products of a decoder layer: matrices that read the same rows are one.
enum class Product : std::uint8_t { qkv, o, gate_up, down };
inline constexpr std::array kProducts = {Product::qkv, Product::o, Product::gate_up, Product::down};

constexpr std::string_view name_of(Product p) noexcept {
  switch (p) {
    case Product::qkv: return "qkv";
    case Product::o: return "o";
    case Product::gate_up: return "gate_up";
    case Product::down: return "down";
  }
  return "?";
}

/// Something for each product of a layer.
template <class T>
struct PerProduct {
  std::array<T, kProducts.size()> each = {};
  T& operator[](Product p) noexcept { return each[static_cast<std::size_t>(p)]; }
  const T& operator[](Product p) const noexcept { return each[static_cast<std::size_t>(p)]; }
};

/// How a product's matrices are to be rounded, and what that gains on the rows of the calibration.
struct ProductScales {
  std::vector<float> scales;      ///< (K), above 0
  std::vector<float> importance;  ///< mean x² (K); empty: of no use here
  double alpha = 0;               ///< 0: all scales are 1
  double plain_error = 0;         ///< of the output, see output_error, rounded plainly
  double error = 0;               ///< rounded so; never above plain_error
};

/// Scales of every layer of a language model.
struct Calibration {
  std::vector<PerProduct<ProductScales>> layers;

  double mean_plain_error() const { return mean(&ProductScales::plain_error); }
  double mean_error() const { return mean(&ProductScales::error); }

 private:
  double mean(double ProductScales::*error) const;
};

/// The same model with the scales folded in: it computes the same, but for the rounding of f32, and
/// loses less when its matrices are rounded, which they say how to do. `weights` is the root scope;
/// scaled tensors are f32 copies. Throws ArgumentError for scales of another model, or none above
/// 0; the scope throws it for a tensor that is rounded already.
WeightScope awq_scaled(WeightScope weights, const TextConfig& config, Calibration calibration);

}  // namespace pllava

#ifndef PLLAVA_COMPILED
#include "pllava/quantization/detail/awq_inl.hpp"
#endif
