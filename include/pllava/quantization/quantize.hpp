// Which matrices of a model are kept in 8 or 4 bits.
//
// The matrices of the transformer layers and of the projector, and lm_head, are quantized: they
// take the time and the memory. Embedding tables, the patch embedding, norms, biases and positions
// stay unquantized: they are small, and their errors reach every later layer.
#pragma once

#include <string_view>

#include "pllava/weights/weight_source.hpp"

namespace pllava {

struct QuantizeOptions {
  Quantization vision = {};    ///< layers of the vision tower, and the projector
  Quantization language = {};  ///< layers of the language model; lm_head never in less than 8 bits

  /// int8, fp8: everything; int4: the language model, with vision in int8, which is bound by
  /// arithmetic and not by memory.
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

/// The format of a tensor in a file: a lookup table stays unquantized, also where it serves as the
/// matrix before the logits.
Quantization stored_quantization(const TensorSpec& spec, const QuantizeOptions& options);

/// The same weights, marked with the format that a backend shall keep them in. `weights` is the
/// root scope; tensors that are stored quantized stay as they are. Throws ArgumentError for a group
/// size that does not exist.
WeightScope quantized(WeightScope weights, const QuantizeOptions& options);

}  // namespace pllava

#ifndef PLLAVA_COMPILED
#include "pllava/quantization/detail/quantize_inl.hpp"
#endif
