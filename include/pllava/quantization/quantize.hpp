// Which matrices of a model are kept in 8 or 4 bits.
//
// Rounded are the matrices that cost time and memory: those of the transformer layers and of the
// projector, and lm_head. Tables that are looked up, the patch embedding, norms, biases and
// positions stay as they are: they are small, and errors there reach everything behind them.
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

/// How the tensor of this canonical name is kept.
Quantization quantization_of(std::string_view name, const Shape& shape,
                             const QuantizeOptions& options);

/// The same for a tensor in a file: a table that is looked up stays plain, whatever else it is for.
Quantization stored_quantization(std::string_view name, const Shape& shape,
                                 const QuantizeOptions& options);

/// The same weights, marked so that a backend that can rounds them as it prepares them. `weights`
/// is the root scope; what was rounded before stays as it is. Throws ArgumentError for a group that
/// does not exist.
WeightScope quantized(WeightScope weights, const QuantizeOptions& options);

}  // namespace pllava

#ifndef PLLAVA_COMPILED
#include "pllava/quantization/detail/quantize_inl.hpp"
#endif
