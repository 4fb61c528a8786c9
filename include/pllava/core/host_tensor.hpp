// A tensor in host memory, as it is read from a file and handed to Backend::prepare.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

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

}  // namespace pllava
