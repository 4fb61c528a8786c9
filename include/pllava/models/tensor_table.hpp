// Every tensor of a model: name, shape, and whether inference reads it (reference 7.3, 7.4).
#pragma once

#include <string>
#include <vector>

#include "pllava/core/shape.hpp"
#include "pllava/models/model_config.hpp"

namespace pllava {

/// `required` tensors are read. `unused` ones occur in files without taking part in the result (the
/// vision layers above the feature layer, buffers that older files carry) and may be absent.
enum class Presence { required, unused };

struct TensorSpec {
  std::string name;  ///< as in a llava-hf file: "language_model.model.norm.weight"
  Shape shape;       ///< linear weights are (out, in)
  Presence presence = Presence::required;
};

/// The tensors of a model of this configuration under their canonical names.
std::vector<TensorSpec> model_tensors(const ModelConfig& config);
/// How many of them are read.
Index required_tensors(const ModelConfig& config);

}  // namespace pllava

#ifndef PLLAVA_COMPILED
#include "pllava/models/detail/tensor_table_inl.hpp"
#endif
