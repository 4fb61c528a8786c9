// Where weights come from. A component asks its scope for each tensor by name and exact shape, so a
// wrong file fails by name and shape before anything is computed.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "pllava/core/control.hpp"
#include "pllava/core/host_tensor.hpp"
#include "pllava/core/shape.hpp"

namespace pllava {

/// A set of named tensors: a checkpoint, random numbers, a user's own container.
/// Implementations are immutable after construction and safe to read from several threads.
class WeightSource {
 public:
  virtual ~WeightSource() = default;
  WeightSource() = default;
  WeightSource(const WeightSource&) = delete;
  WeightSource& operator=(const WeightSource&) = delete;

  /// The tensor of this full name, with exactly this shape.
  /// Throws LoadError if it is missing or has another shape.
  virtual HostTensor tensor(const std::string& name, const Shape& shape) const = 0;
  virtual bool contains(const std::string& name) const = 0;
};

/// A position in a source's tree of names, like a working directory.
class WeightScope {
 public:
  explicit WeightScope(std::shared_ptr<const WeightSource> source, std::string prefix = {})
      : source_(std::move(source)), prefix_(std::move(prefix)) {}

  /// The scope one name further down.
  WeightScope operator[](std::string_view name) const { return WeightScope(source_, full(name)); }
  /// The scope of list element `i`, as in "layers.3".
  WeightScope operator[](Index i) const { return (*this)[std::to_string(i)]; }

  /// Tensor `name` of this scope. Throws LoadError.
  HostTensor tensor(std::string_view name, const Shape& shape) const {
    HostTensor tensor = source_->tensor(full(name), shape);
    tensor.name = full(name);
    return tensor;
  }
  bool contains(std::string_view name) const { return source_->contains(full(name)); }

 private:
  std::string full(std::string_view name) const {
    return prefix_.empty() ? std::string(name) : prefix_ + "." + std::string(name);
  }

  std::shared_ptr<const WeightSource> source_;
  std::string prefix_;
};

/// The same weights, where each tensor that is read reports stage "load" as one of `total`, and can
/// be cancelled there.
WeightScope with_progress(WeightScope weights, Index total, RunControl control);

}  // namespace pllava

#ifndef PLLAVA_COMPILED
#include "pllava/weights/detail/weight_source_inl.hpp"
#endif
