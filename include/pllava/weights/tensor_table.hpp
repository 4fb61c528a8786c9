// The tensors of a component. Loading, the strict check of a checkpoint, `inspect`, quantization,
// calibration and random weights all read this table.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "pllava/core/shape.hpp"

namespace pllava {

/// `required` tensors are read. `unused` tensors occur in files but do not affect the result (the
/// vision layers above the feature layer, buffers of older files); they may be absent.
enum class Presence : std::uint8_t { required, unused };

/// Which option of QuantizeOptions decides the format of a matrix.
enum class QuantizationGroup : std::uint8_t {
  none,      ///< never quantized: embeddings, norms, biases, positions
  vision,    ///< layers of the vision tower, and the projector
  language,  ///< layers of the language model
  lm_head    ///< the matrix that produces the logits: at least 8 bits
};

/// Distribution of random values for tests, benchmarks and demos.
enum class Initializer : std::uint8_t {
  matrix,     ///< uniform, standard deviation 1/sqrt(fan-in)
  embedding,  ///< uniform, standard deviation 0.1
  bias,       ///< uniform, standard deviation 0.02
  ones
};

struct TensorSpec {
  std::string name = {};  ///< as in a llava-hf file: "language_model.model.norm.weight"
  Shape shape;            ///< linear weights are (out, in)
  Presence presence = Presence::required;
  QuantizationGroup group = QuantizationGroup::none;
  Initializer initializer = Initializer::matrix;
  bool is_lookup_table = false;  ///< read by row; unquantized in files
};

/// The tensors of a component or a model, by name.
class TensorTable {
 public:
  TensorTable() = default;

  /// Adds a tensor. Throws ArgumentError if the name is taken.
  TensorTable& add(TensorSpec spec) {
    if (!index_.emplace(spec.name, specs_.size()).second)
      throw ArgumentError("tensor name \"" + spec.name + "\" is used twice");
    specs_.push_back(std::move(spec));
    return *this;
  }
  /// Adds `name`.weight with the other members of `spec`, and `name`.bias with as many rows.
  TensorTable& add_with_bias(const std::string& name, TensorSpec spec) {
    TensorSpec bias = spec;
    bias.name = name + ".bias";
    bias.shape = Shape{spec.shape[0]};
    bias.group = QuantizationGroup::none;
    bias.initializer = Initializer::bias;
    spec.name = name + ".weight";
    add(std::move(spec));
    return add(std::move(bias));
  }
  /// Adds all tensors of `table`, named `prefix`.name.
  TensorTable& add(const std::string& prefix, const TensorTable& table) {
    for (TensorSpec spec : table.specs_) {
      spec.name = prefix + "." + spec.name;
      add(std::move(spec));
    }
    return *this;
  }

  /// The tensor of this name, or nullptr.
  const TensorSpec* find(std::string_view name) const noexcept {
    const auto found = index_.find(name);
    return found == index_.end() ? nullptr : &specs_[found->second];
  }
  std::vector<TensorSpec>::const_iterator begin() const noexcept { return specs_.begin(); }
  std::vector<TensorSpec>::const_iterator end() const noexcept { return specs_.end(); }
  std::size_t size() const noexcept { return specs_.size(); }
  /// Number of required tensors.
  Index required() const noexcept {
    Index count = 0;
    for (const TensorSpec& spec : specs_) count += spec.presence == Presence::required;
    return count;
  }

 private:
  std::vector<TensorSpec> specs_;
  std::map<std::string, std::size_t, std::less<>> index_;
};

}  // namespace pllava
