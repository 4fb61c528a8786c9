// Conversion of host tensors to f32.
#pragma once

#include <cstdint>
#include <memory>
#include <new>

#include "pllava/core/host_tensor.hpp"
#include "pllava/error.hpp"

namespace pllava::detail {

/// Converts elements [first, first + count) of `t` to floats.
inline void copy_as_floats(float* out, const HostTensor& t, Index first, Index count) {
  for (Index i = 0; i < count; ++i) out[i] = load_float(t.data, t.dtype, first + i);
}

/// Allocates `count` uninitialized floats. Throws OutOfMemoryError.
inline std::shared_ptr<float[]> float_buffer(Index count, const char* purpose) {
  try {
    return std::shared_ptr<float[]>(new float[static_cast<std::size_t>(count)]);
  } catch (const std::bad_alloc&) {
    throw OutOfMemoryError(purpose, static_cast<std::uint64_t>(count) * sizeof(float));
  }
}

}  // namespace pllava::detail
