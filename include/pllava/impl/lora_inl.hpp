// Bodies of lora.hpp.
#pragma once

#include <algorithm>
#include <cmath>
#include <new>
#include <vector>

#include <Eigen/Core>

#include "pllava/error.hpp"
#include "pllava/lora.hpp"

namespace pllava {
namespace detail {

constexpr bool is_floating(DType t) noexcept {
  return t == DType::f32 || t == DType::f16 || t == DType::bf16;
}

PLLAVA_INLINE void widen(float* out, const HostTensor& t, Index first, Index count) {
  for (Index i = 0; i < count; ++i) out[i] = load_float(t.data, t.dtype, first + i);
}

/// `count` floats that live as long as the returned pointer. Throws OutOfMemoryError.
PLLAVA_INLINE std::shared_ptr<float[]> float_buffer(Index count, const char* what_for) {
  try {
    return std::shared_ptr<float[]>(new float[static_cast<std::size_t>(count)]);
  } catch (const std::bad_alloc&) {
    throw OutOfMemoryError(what_for, static_cast<std::uint64_t>(count) * sizeof(float));
  }
}

}  // namespace detail

PLLAVA_INLINE HostTensor merge_lora(const HostTensor& base, const HostTensor& a,
                                    const HostTensor& b, float scale) {
  for (const HostTensor* t : {&base, &a, &b})
    if (!detail::is_floating(t->dtype))
      throw ArgumentError("merge_lora: expected a floating type, got " +
                          std::string(name_of(t->dtype)));
  if (!std::isfinite(scale)) throw ArgumentError("merge_lora: the scale is not finite");
  if (base.shape.rank() != 2 || a.shape.rank() != 2 || b.shape.rank() != 2 ||
      a.shape[1] != base.shape[1] || b.shape[0] != base.shape[0] || a.shape[0] != b.shape[1])
    throw ShapeError("merge_lora", "expected base (out, in), a (r, in), b (out, r); got " +
                                       base.shape.str() + ", " + a.shape.str() + ", " +
                                       b.shape.str());
  if (scale == 0.0f) return base;

  using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  using Map = Eigen::Map<Matrix>;
  constexpr Index kBlock = 256;  // rows at a time, so that only `a` and the result are whole in f32
  const Index out = base.shape[0], in = base.shape[1], r = a.shape[0];
  const auto a_data = detail::float_buffer(r * in, "a LoRA factor");
  const auto b_data = detail::float_buffer(kBlock * r, "a LoRA factor");
  const auto merged = detail::float_buffer(out * in, "merged LoRA weights");
  detail::widen(a_data.get(), a, 0, r * in);
  try {
    for (Index row = 0; row < out; row += kBlock) {
      const Index rows = std::min(kBlock, out - row);
      float* y = merged.get() + row * in;
      detail::widen(y, base, row * in, rows * in);
      detail::widen(b_data.get(), b, row * r, rows * r);
      Map(y, rows, in).noalias() += scale * (Map(b_data.get(), rows, r) * Map(a_data.get(), r, in));
    }
  } catch (const std::bad_alloc&) {  // Eigen's packing buffers
    throw OutOfMemoryError("merging LoRA weights", 0);
  }
  return {DType::f32, base.shape, reinterpret_cast<const std::byte*>(merged.get()), merged};
}

}  // namespace pllava
