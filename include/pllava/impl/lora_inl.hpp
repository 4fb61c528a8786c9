// Bodies of lora.hpp.
#pragma once

#include <algorithm>
#include <cmath>
#include <new>

#include "pllava/cpu/kernels.hpp"
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

  // y = base + (scale·b)·a, tile by tile with the matrix kernels of the CPU backend: columns of `a`
  // in panels, rows of `b` in tiles.
  const cpu::Kernels& kernels = cpu::kernels(cpu::detect_isa());
  const Index out = base.shape[0], in = base.shape[1], r = a.shape[0];
  const Index panels = (in + cpu::kPanel - 1) / cpu::kPanel, tile_rows = kernels.max_rows;
  const auto merged = detail::float_buffer(out * in, "merged LoRA weights");
  const auto a_rows = detail::float_buffer(r * in, "a LoRA factor");
  const auto a_panels = detail::float_buffer(panels * r * cpu::kPanel, "a LoRA factor");
  const auto b_rows = detail::float_buffer(tile_rows * r, "a LoRA factor");
  const auto b_tile = detail::float_buffer(tile_rows * r, "a LoRA factor");
  const auto tile = detail::float_buffer(tile_rows * cpu::kPanel, "a LoRA factor");
  detail::widen(a_rows.get(), a, 0, r * in);
  for (Index p = 0; p < panels; ++p)
    for (Index k = 0; k < r; ++k)
      for (Index n = 0; n < cpu::kPanel; ++n) {
        const Index column = p * cpu::kPanel + n;
        a_panels[(p * r + k) * cpu::kPanel + n] = column < in ? a_rows[k * in + column] : 0.0f;
      }
  detail::widen(merged.get(), base, 0, out * in);
  for (Index row = 0; row < out; row += tile_rows) {
    const Index rows = std::min(tile_rows, out - row);
    detail::widen(b_rows.get(), b, row * r, rows * r);
    for (Index k = 0; k < r; ++k)
      for (Index n = 0; n < tile_rows; ++n)
        b_tile[k * tile_rows + n] = n < rows ? scale * b_rows[n * r + k] : 0.0f;
    for (Index p = 0; p < panels; ++p) {
      kernels.tile_f32(tile_rows, b_tile.get(), tile_rows, a_panels.get() + p * r * cpu::kPanel, r,
                       tile.get());
      const Index columns = std::min(cpu::kPanel, in - p * cpu::kPanel);
      for (Index n = 0; n < rows; ++n)
        kernels.add(merged.get() + (row + n) * in + p * cpu::kPanel, tile.get() + n * cpu::kPanel,
                    columns);
    }
  }
  return {DType::f32, base.shape, reinterpret_cast<const std::byte*>(merged.get()), merged};
}

}  // namespace pllava
