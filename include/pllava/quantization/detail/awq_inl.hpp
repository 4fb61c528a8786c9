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

/// The weights of a model with AWQ scales folded in.
class ScaledWeights final : public WeightSource {
 public:
  ScaledWeights(WeightScope weights, const TextConfig& config, Calibration calibration)
      : weights_(std::move(weights)),
        heads_(heads_of(config)),
        calibration_(std::move(calibration)) {
    if (static_cast<Index>(calibration_.layers.size()) != config.layers)
      throw ArgumentError("calibration: expected scales of " + std::to_string(config.layers) +
                          " layers, got " + std::to_string(calibration_.layers.size()));
    for (const auto& layer : calibration_.layers) {
      check(layer, config);
      auto& importance = importance_.emplace_back();
      for (const Projection p : kProjections)
        if (!layer[p].importance.empty())
          importance[p] = std::make_shared<const std::vector<float>>(
              scaled_importance(layer[p].importance, layer[p].scales));
    }
  }

  HostTensor tensor(const TensorSpec& spec) const override {
    HostTensor tensor = weights_.tensor(spec);
    if (!spec.awq) return tensor;
    if (!is_floating(tensor.dtype))
      throw ArgumentError(spec.name + ": the weights are quantized already");
    const auto l = static_cast<std::size_t>(spec.awq->layer);
    const auto& layer = calibration_.layers.at(l);
    const auto& [unused, input, is_norm, output] = *spec.awq;
    const float* columns = layer[input].scales.data();
    const bool is_bias = !is_norm && spec.shape.rank() == 1;  // only its rows are scaled
    const Index K = is_bias ? 1 : spec.shape[spec.shape.rank() - 1], N = spec.shape.count() / K;
    const auto scaled = float_buffer(N * K, "scaled weights");
    copy_as_floats(scaled.get(), tensor, 0, N * K);
    for (Index n = 0; n < N; ++n) {
      const Index channel = output == Projection::o ? first_o_channel(heads_, n) : n;
      const float row = output ? layer[*output].scales[static_cast<std::size_t>(channel)] : 1.0f;
      float* w = scaled.get() + n * K;
      for (Index k = 0; k < K; ++k)
        w[k] *= is_norm ? 1 / columns[k] : is_bias ? 1 / row : columns[k] / row;
    }
    tensor.dtype = DType::f32;
    tensor.data = reinterpret_cast<const std::byte*>(scaled.get());
    tensor.owner = scaled;
    if (!is_norm && !is_bias) tensor.importance = importance_[l][input];
    return tensor;
  }
  bool contains(const std::string& name) const override { return weights_.contains(name); }

 private:
  void check(const PerProjection<ProjectionScales>& layer, const TextConfig& config) const {
    const Index q = heads_.num_query_heads * heads_.head_dim;
    static_assert(kProjections.size() == 4, "widths has a value for each projection");
    const PerProjection<Index> widths = {{config.width, q, config.width, config.ffn}};
    for (const Projection p : kProjections) {
      const std::vector<float>& scales = layer[p].scales;
      if (static_cast<Index>(scales.size()) != widths[p])
        throw ArgumentError("calibration: expected " + std::to_string(widths[p]) +
                            " scales for the inputs of " + std::string(name_of(p)) + ", got " +
                            std::to_string(scales.size()));
      for (const float s : scales)
        if (!std::isfinite(s) || s <= 0)
          throw ArgumentError("calibration: scales must be positive and finite");
      const std::vector<float>& importance = layer[p].importance;
      if (!importance.empty() && importance.size() != scales.size())
        throw ArgumentError("calibration: expected as many importances as scales");
      for (const float i : importance)
        if (!std::isfinite(i) || i < 0)
          throw ArgumentError("calibration: importances must be 0 or more and finite");
    }
    const std::vector<float>& o = layer[Projection::o].scales;
    for (Index r = 0; r < heads_.num_kv_heads * heads_.head_dim; ++r)
      for (Index h = 0; h < heads_.group_size(); ++h) {
        const auto first = static_cast<std::size_t>(first_o_channel(heads_, r));
        if (o[first + static_cast<std::size_t>(h * heads_.head_dim)] != o[first])
          throw ArgumentError("calibration: query heads of a kv head must have equal scales of o");
      }
  }

  WeightScope weights_;
  Heads heads_;
  Calibration calibration_;
  std::vector<PerProjection<std::shared_ptr<const std::vector<float>>>> importance_;
};

}  // namespace detail

PLLAVA_INLINE double Calibration::mean(double ProjectionScales::*error) const {
  double sum = 0;
  for (const auto& layer : layers)
    for (const ProjectionScales& projection : layer.each) sum += projection.*error;
  return sum / static_cast<double>(std::max<std::size_t>(layers.size() * kProjections.size(), 1));
}

PLLAVA_INLINE WeightScope awq_scaled(WeightScope weights, const TextConfig& config,
                                     Calibration calibration) {
  return WeightScope(std::make_shared<const detail::ScaledWeights>(std::move(weights), config,
                                                                   std::move(calibration)));
}

}  // namespace pllava
