// Bodies of quantize.hpp.
#pragma once

#include "pllava/quantization/quantize.hpp"

namespace pllava {

PLLAVA_INLINE Quantization quantization_of(std::string_view name, const Shape& shape,
                                           const QuantizeOptions& options) {
  if (shape.rank() != 2 || !name.ends_with(".weight")) return {};
  const bool in_layer = name.find(".layers.") != std::string_view::npos;
  if (name.starts_with("multi_modal_projector.")) return options.vision;
  if (name.starts_with("vision_tower.")) return in_layer ? options.vision : Quantization{};
  if (in_layer) return options.language;
  // The matrix before the logits: lm_head, or with tied embeddings the table in that role.
  return QuantizeOptions::of(options.language.format).vision;
}

PLLAVA_INLINE Quantization stored_quantization(std::string_view name, const Shape& shape,
                                               const QuantizeOptions& options) {
  const bool table = name.find("embed_tokens") != std::string_view::npos;
  return table ? Quantization{} : quantization_of(name, shape, options);
}

namespace detail {

class MarkedWeights final : public WeightSource {
 public:
  MarkedWeights(WeightScope weights, const QuantizeOptions& options)
      : weights_(std::move(weights)), options_(options) {}

  HostTensor tensor(const std::string& name, const Shape& shape) const override {
    HostTensor tensor = weights_.tensor(name, shape);
    if (tensor.dtype != DType::u8) tensor.quantization = quantization_of(name, shape, options_);
    return tensor;
  }
  bool contains(const std::string& name) const override { return weights_.contains(name); }

 private:
  WeightScope weights_;
  QuantizeOptions options_;
};

}  // namespace detail

PLLAVA_INLINE WeightScope quantized(WeightScope weights, const QuantizeOptions& options) {
  require_valid(options.vision);
  require_valid(options.language);
  if (!options.any()) return weights;
  return WeightScope(std::make_shared<const detail::MarkedWeights>(std::move(weights), options));
}

}  // namespace pllava
