// Bodies of quantization/awq.hpp.
#pragma once

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <utility>

#include "pllava/quantization/awq.hpp"
#include "pllava/quantization/detail/awq_tensors.hpp"
#include "pllava/weights/detail/host_floats.hpp"

namespace pllava {
namespace detail {

class ScaledWeights final : public WeightSource {
 public:
  ScaledWeights(WeightScope weights, const TextConfig& config, Calibration calibration)
      : weights_(std::move(weights)),
        heads_(heads_of(config)),
        calibration_(std::move(calibration)) {
    if (static_cast<Index>(calibration_.layers.size()) != config.layers)
      throw ArgumentError("scales for " + std::to_string(calibration_.layers.size()) +
                          " layers, the model has " + std::to_string(config.layers));
    for (const auto& layer : calibration_.layers) {
      check(layer, config);
      auto& costs = costs_.emplace_back();
      for (const Product p : kProducts)
        if (!layer[p].importance.empty())
          costs[p] = std::make_shared<const std::vector<float>>(
              scaled_importance(layer[p].importance, layer[p].scales));
    }
  }

  HostTensor tensor(const std::string& name, const Shape& shape) const override {
    HostTensor tensor = weights_.tensor(name, shape);
    const auto found = layer_tensor(name);
    if (!found) return tensor;
    if (!is_floating(tensor.dtype)) throw ArgumentError(name + ": the weights are rounded already");
    const auto& layer = calibration_.layers.at(found->layer);
    const auto& [unused, product, makes_input, read_by] = found->tensor;
    const float* columns = layer[product].scales.data();
    const Index K = shape[shape.rank() - 1], N = shape.count() / K;
    const auto scaled = float_buffer(N * K, "scaled weights");
    copy_as_floats(scaled.get(), tensor, 0, N * K);
    for (Index n = 0; n < N; ++n) {
      const Index reader = read_by == Product::o ? first_reader(heads_, n) : n;
      const float row = read_by ? layer[*read_by].scales[static_cast<std::size_t>(reader)] : 1.0f;
      float* w = scaled.get() + n * K;
      for (Index k = 0; k < K; ++k) w[k] *= makes_input ? 1 / columns[k] : columns[k] / row;
    }
    tensor.dtype = DType::f32;
    tensor.data = reinterpret_cast<const std::byte*>(scaled.get());
    tensor.owner = scaled;
    if (!makes_input) tensor.importance = costs_[found->layer][product];
    return tensor;
  }
  bool contains(const std::string& name) const override { return weights_.contains(name); }

 private:
  void check(const PerProduct<ProductScales>& layer, const TextConfig& config) const {
    const Index q = heads_.num_query_heads * heads_.head_dim;
    const PerProduct<Index> widths = {{config.width, q, config.width, config.ffn}};
    for (const Product p : kProducts) {
      const std::vector<float>& scales = layer[p].scales;
      if (static_cast<Index>(scales.size()) != widths[p])
        throw ArgumentError(std::to_string(scales.size()) + " scales for the inputs of " +
                            std::string(name_of(p)) + ", of which there are " +
                            std::to_string(widths[p]));
      for (const float s : scales)
        if (!std::isfinite(s) || s <= 0) throw ArgumentError("a scale must be above 0 and finite");
      const std::vector<float>& importance = layer[p].importance;
      if (!importance.empty() && importance.size() != scales.size())
        throw ArgumentError("as many channels have an importance as have a scale");
      for (const float i : importance)
        if (!std::isfinite(i) || i < 0) throw ArgumentError("an importance must be 0 or more");
    }
    const std::vector<float>& o = layer[Product::o].scales;
    for (Index r = 0; r < heads_.num_kv_heads * heads_.head_dim; ++r)
      for (Index h = 0; h < heads_.num_query_heads / heads_.num_kv_heads; ++h) {
        const auto first = static_cast<std::size_t>(first_reader(heads_, r));
        if (o[first + static_cast<std::size_t>(h * heads_.head_dim)] != o[first])
          throw ArgumentError("query heads that read one kv head must share the scales of o");
      }
  }

  WeightScope weights_;
  Heads heads_;
  Calibration calibration_;
  std::vector<PerProduct<std::shared_ptr<const std::vector<float>>>> costs_;
};

}  // namespace detail

PLLAVA_INLINE double Calibration::mean(double ProductScales::*error) const {
  double sum = 0;
  for (const auto& layer : layers)
    for (const ProductScales& product : layer.each) sum += product.*error;
  return sum / static_cast<double>(std::max<std::size_t>(layers.size() * kProducts.size(), 1));
}

PLLAVA_INLINE WeightScope awq_scaled(WeightScope weights, const TextConfig& config,
                                     Calibration calibration) {
  return WeightScope(std::make_shared<const detail::ScaledWeights>(std::move(weights), config,
                                                                   std::move(calibration)));
}

}  // namespace pllava
