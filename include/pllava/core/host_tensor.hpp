// A tensor in host memory, read from a file and passed to Backend::prepare.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "pllava/core/dtype.hpp"
#include "pllava/core/quantization.hpp"
#include "pllava/core/quantized_row.hpp"
#include "pllava/core/shape.hpp"
#include "pllava/core/stored_row.hpp"

namespace pllava {

/// A read-only tensor in host memory, row-major. `owner` keeps the bytes alive (a mapped file, a
/// buffer). When the last copy of `owner` of a mapped tensor is destroyed, its pages are released
/// to the system.
struct HostTensor {
  DType dtype = DType::f32;
  Shape shape;
  const std::byte* data = nullptr;
  std::shared_ptr<const void> owner;
  /// The format that `prepare` stores it in. With dtype u8 the tensor is quantized already: the
  /// rows of `shape` are as store_row writes them.
  Quantization quantization = {};
  std::string name = {};  ///< for messages; empty if it is not from a WeightScope
};

/// Row `r` of a matrix, quantized. Throws LoadError for values that cannot be quantized or loaded.
inline QuantizedRow quantized_row(const HostTensor& t, Index r) try {
  const Index cols = t.shape[1];
  if (t.dtype == DType::u8)
    return load_row(t.data + r * stored_row_bytes(t.quantization, cols), cols, t.quantization);
  std::vector<float> values(static_cast<std::size_t>(cols));
  for (Index k = 0; k < cols; ++k)
    values[static_cast<std::size_t>(k)] = load_float(t.data, t.dtype, r * cols + k);
  return quantize(values, t.quantization);
} catch (const ArgumentError& error) {
  throw LoadError(error.what() + std::string(", row ") + std::to_string(r), {{}, t.name, {}, {}});
}

}  // namespace pllava
