// Bodies of quantization/quantize.hpp.
#pragma once

#include "pllava/quantization/quantize.hpp"

namespace pllava {

PLLAVA_INLINE Quantization quantization_of(const TensorSpec& spec, const QuantizeOptions& options) {
  switch (spec.group) {
    case QuantizationGroup::none: break;
    case QuantizationGroup::vision: return options.vision;
    case QuantizationGroup::language: return options.language;
    case QuantizationGroup::lm_head: return QuantizeOptions::of(options.language.format).vision;
  }
  return {};
}

PLLAVA_INLINE Quantization stored_quantization(const TensorSpec& spec,
                                               const QuantizeOptions& options) {
  return spec.is_lookup_table ? Quantization{} : quantization_of(spec, options);
}

namespace detail {

/// Sets the format of each tensor.
class QuantizedWeights final : public WeightSource {
 public:
  QuantizedWeights(WeightScope weights, const QuantizeOptions& options)
      : weights_(std::move(weights)), options_(options) {}

  HostTensor tensor(const TensorSpec& spec) const override {
    HostTensor tensor = weights_.tensor(spec);
    if (tensor.dtype != DType::u8) tensor.quantization = quantization_of(spec, options_);
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
  return WeightScope(std::make_shared<const detail::QuantizedWeights>(std::move(weights), options));
}

}  // namespace pllava
