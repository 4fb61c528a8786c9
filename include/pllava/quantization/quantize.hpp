// Which matrices of a model are quantized to 8 or 4 bits.
//
// The matrices of the transformer layers and of the projector, and lm_head, are quantized: they
// dominate time and memory. Embedding tables, the patch embedding, norms, biases and positions stay
// unquantized: they are small, and their errors reach every later layer.
#pragma once

#include <string_view>

#include "pllava/weights/weight_source.hpp"

namespace pllava {

struct QuantizeOptions {
  Quantization vision = {};    ///< layers of the vision tower, and the projector
  Quantization language = {};  ///< layers of the language model; lm_head has at least 8 bits

  /// int8, fp8: both. int4: the language model; vision, which is bound by arithmetic and not by
  /// memory, in int8.
  static QuantizeOptions of(WeightFormat format) {
    return {{format == WeightFormat::int4 ? WeightFormat::int8 : format}, {format}};
  }
  bool any() const noexcept {
    return vision.format != WeightFormat::unquantized ||
           language.format != WeightFormat::unquantized;
  }
  bool operator==(const QuantizeOptions&) const = default;
};

/// The format of a tensor.
Quantization quantization_of(const TensorSpec& spec, const QuantizeOptions& options);

/// The format of a tensor in a file. A lookup table stays unquantized, even if it is also lm_head
/// (tied embeddings).
Quantization stored_quantization(const TensorSpec& spec, const QuantizeOptions& options);

/// The same weights with HostTensor::quantization set; the backend quantizes them in `prepare`.
/// `weights` is the root scope; tensors that are stored quantized are unchanged. Throws
/// ArgumentError for an unsupported group size.
WeightScope quantized(WeightScope weights, const QuantizeOptions& options);

}  // namespace pllava

#ifndef PLLAVA_COMPILED
#include "pllava/quantization/detail/quantize_inl.hpp"
#endif
