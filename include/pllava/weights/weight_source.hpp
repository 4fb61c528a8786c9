// Sources of weights. A component requests each tensor by name and exact shape, so loading a wrong
// file fails with the name and shape of the first tensor that does not fit.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "pllava/core/control.hpp"
#include "pllava/core/host_tensor.hpp"
#include "pllava/weights/tensor_table.hpp"

namespace pllava {

class SharedWeights;

/// A set of named tensors: a checkpoint, random weights, a user-defined source.
/// Implementations are immutable after construction and safe to read from several threads.
class WeightSource {
 public:
  virtual ~WeightSource() = default;
  WeightSource() = default;
  WeightSource(const WeightSource&) = delete;
  WeightSource& operator=(const WeightSource&) = delete;

  /// The tensor of this full name, with exactly this shape. A source may use the other members of
  /// `spec`: how the tensor is quantized, scaled or initialized.
  /// Throws LoadError if it is missing or has another shape.
  virtual HostTensor tensor(const TensorSpec& spec) const = 0;
  virtual bool contains(const std::string& name) const = 0;
  /// Where models share what they prepare from the tensors of these full names; null if they do
  /// not. See share().
  virtual SharedWeights* shared([[maybe_unused]] const std::vector<std::string>& names) const {
    return nullptr;
  }
};

/// A prefix in the dot-separated names of a source, like a working directory.
class WeightScope {
 public:
  explicit WeightScope(std::shared_ptr<const WeightSource> source, std::string prefix = {})
      : source_(std::move(source)), prefix_(std::move(prefix)) {}

  /// The scope `prefix.name`.
  WeightScope operator[](std::string_view name) const { return WeightScope(source_, full(name)); }
  /// The scope of list element `i`, as in "layers.3".
  WeightScope operator[](Index i) const { return (*this)[std::to_string(i)]; }

  /// The tensor `spec`, whose name is relative to this scope. Throws LoadError.
  HostTensor tensor(TensorSpec spec) const {
    spec.name = full(spec.name);
    HostTensor tensor = source_->tensor(spec);
    tensor.name = spec.name;
    return tensor;
  }
  /// Tensor `name` of this scope, with this shape and default TensorSpec. Throws LoadError.
  HostTensor tensor(std::string_view name, const Shape& shape) const {
    return tensor(TensorSpec{.name = std::string(name), .shape = shape});
  }
  bool contains(std::string_view name) const { return source_->contains(full(name)); }
  /// The full name of `name` in the source.
  std::string full(std::string_view name) const {
    return prefix_.empty() ? std::string(name) : prefix_ + "." + std::string(name);
  }
  const WeightSource& source() const noexcept { return *source_; }

 private:
  std::shared_ptr<const WeightSource> source_;
  std::string prefix_;
};

/// The weights of one component: a scope, and the table with the shape and role of each tensor.
/// Components request tensors by name; shapes are only in the table.
class ComponentWeights {
 public:
  ComponentWeights(WeightScope scope, TensorTable table)
      : scope_(std::move(scope)), table_(std::make_shared<const TensorTable>(std::move(table))) {}

  ComponentWeights operator[](std::string_view name) const {
    ComponentWeights child = *this;
    child.path_ = full(name);
    return child;
  }
  ComponentWeights operator[](Index i) const { return (*this)[std::to_string(i)]; }

  /// Whether the table has this tensor: a linear layer without bias has no "bias".
  bool has(std::string_view name) const { return table_->find(full(name)) != nullptr; }
  /// Throws LoadError, also for a name that is not in the table.
  HostTensor tensor(std::string_view name) const { return scope_.tensor(spec(name)); }
  /// The tensor's shape. Throws LoadError for a name that is not in the table.
  const Shape& shape(std::string_view name) const { return spec(name).shape; }
  /// The tensor's name in the source.
  std::string source_name(std::string_view name) const { return scope_.full(full(name)); }
  const WeightSource& source() const noexcept { return scope_.source(); }

 private:
  const TensorSpec& spec(std::string_view name) const {
    const std::string path = full(name);
    const TensorSpec* spec = table_->find(path);
    if (spec == nullptr)
      throw LoadError("the component has no such tensor",
                      {.file = {}, .tensor = path, .expected = {}, .got = {}});
    return *spec;
  }
  std::string full(std::string_view name) const {
    return path_.empty() ? std::string(name) : path_ + "." + std::string(name);
  }

  WeightScope scope_;
  std::shared_ptr<const TensorTable> table_;
  std::string path_;
};

/// The same weights. Reading a tensor reports stage "load" with `total` steps, and checks for
/// cancellation.
WeightScope with_progress(WeightScope weights, Index total, RunControl control);

}  // namespace pllava

#ifndef PLLAVA_COMPILED
#include "pllava/weights/detail/weight_source_inl.hpp"
#endif
