// Bodies of weights/lora.hpp.
#pragma once

#include <cmath>

#include "pllava/core/detail/host_gemm.hpp"
#include "pllava/error.hpp"
#include "pllava/weights/detail/host_floats.hpp"
#include "pllava/weights/lora.hpp"

namespace pllava {

PLLAVA_INLINE HostTensor merge_lora(const HostTensor& base, const HostTensor& a,
                                    const HostTensor& b, float scale) {
  for (const HostTensor* t : {&base, &a, &b})
    if (!is_floating(t->dtype))
      throw ArgumentError("merge_lora: expected a floating type, got " +
                          std::string(name_of(t->dtype)));
  if (!std::isfinite(scale)) throw ArgumentError("merge_lora: the scale is not finite");
  if (base.shape.rank() != 2 || a.shape.rank() != 2 || b.shape.rank() != 2 ||
      a.shape[1] != base.shape[1] || b.shape[0] != base.shape[0] || a.shape[0] != b.shape[1])
    throw ShapeError("merge_lora", "expected base (out, in), a (r, in), b (out, r); got " +
                                       base.shape.str() + ", " + a.shape.str() + ", " +
                                       b.shape.str());
  if (scale == 0.0f) return base;

  const Index out = base.shape[0], in = base.shape[1], r = a.shape[0];
  const auto merged = detail::float_buffer(out * in, "merged LoRA weights");
  const auto lora_a = detail::float_buffer(r * in, "LoRA matrix A");
  const auto lora_b = detail::float_buffer(out * r, "LoRA matrix B");
  detail::copy_as_floats(merged.get(), base, 0, out * in);
  detail::copy_as_floats(lora_a.get(), a, 0, r * in);
  detail::copy_as_floats(lora_b.get(), b, 0, out * r);
  for (Index i = 0; i < out * r; ++i) lora_b[i] *= scale;
  detail::host_gemm(merged.get(), lora_b.get(), lora_a.get(), out, r, in);
  return {DType::f32, base.shape, reinterpret_cast<const std::byte*>(merged.get()), merged};
}

}  // namespace pllava
