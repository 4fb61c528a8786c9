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
#include "pllava/core/dtype.hpp"
#include "pllava/core/quantization.hpp"
#include "pllava/core/shape.hpp"

namespace pllava {

/// A read-only tensor in host memory, row-major. `owner` keeps the bytes alive (a mapped file, a
/// buffer); when it goes, the pages of a mapped file may be given back to the system.
struct HostTensor {
  DType dtype = DType::f32;
  Shape shape;
  const std::byte* data = nullptr;
  std::shared_ptr<const void> owner;
  /// How a backend that can is to keep it. With dtype u8 it was rounded before: rows of `shape` as
  /// store_row writes them.
  Quantization quantization = {};
  std::string name = {};  ///< for messages; empty if it came from no WeightScope
  /// What an error costs in each input channel (K), for `quantize`; null: the same everywhere.
  std::shared_ptr<const std::vector<float>> importance = {};
};

/// Row `r` of a matrix that is kept rounded. Throws LoadError for values that cannot be.
inline QuantizedRow quantized_row(const HostTensor& t, Index r) try {
  const Index cols = t.shape[1];
  if (t.dtype == DType::u8)
    return load_row(t.data + r * stored_row_bytes(t.quantization, cols), cols, t.quantization);
  std::vector<float> values(static_cast<std::size_t>(cols));
  for (Index k = 0; k < cols; ++k)
    values[static_cast<std::size_t>(k)] = load_float(t.data, t.dtype, r * cols + k);
  return quantize(values, t.quantization,
                  t.importance ? std::span<const float>(*t.importance) : std::span<const float>());
} catch (const ArgumentError& error) {
  throw LoadError(error.what() + std::string(", row ") + std::to_string(r), {{}, t.name, {}, {}});
}

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
#include "pllava/impl/weights_inl.hpp"
#endif
