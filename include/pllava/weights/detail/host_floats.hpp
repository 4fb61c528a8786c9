// Elements of host tensors as floats, and the buffers that hold them.
#pragma once

#include <cstdint>
#include <memory>
#include <new>

#include "pllava/core/host_tensor.hpp"
#include "pllava/error.hpp"

namespace pllava {
namespace detail {

/// Converts elements [first, first + count) of `t` to floats.
inline void copy_as_floats(float* out, const HostTensor& t, Index first, Index count) {
  for (Index i = 0; i < count; ++i) out[i] = load_float(t.data, t.dtype, first + i);
}

/// `count` floats that live as long as the returned pointer. Throws OutOfMemoryError.
inline std::shared_ptr<float[]> float_buffer(Index count, const char* what_for) {
  try {
    return std::shared_ptr<float[]>(new float[static_cast<std::size_t>(count)]);
  } catch (const std::bad_alloc&) {
    throw OutOfMemoryError(what_for, static_cast<std::uint64_t>(count) * sizeof(float));
  }
}

}  // namespace detail
}  // namespace pllava
