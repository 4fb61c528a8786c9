// Reads and writes rows of tensors of f32 or bf16 as f32.
#pragma once

#include <cstddef>
#include <cstring>

#include "pllava/core/view.hpp"
#include "pllava/cpu/kernels.hpp"

namespace pllava::cpu::detail {

/// As memcpy; the pointers may be null if `bytes` is 0.
inline void copy_bytes(void* dst, const void* src, Index bytes) {
  if (bytes > 0) std::memcpy(dst, src, static_cast<std::size_t>(bytes));
}

/// dst (cols) = row of x.
inline void load_row(const Kernels& kernels, float* dst, ConstView x, Index row) {
  const Index d = x.cols();
  if (x.dtype == DType::bf16)
    kernels.bf16_to_float(dst, x.as<bf16>() + row * d, d);
  else
    copy_bytes(dst, x.as<float>() + row * d, d * 4);
}

/// Columns [begin, begin + n) of a row of y = src (n).
inline void store_columns(const Kernels& kernels, View y, Index row, Index begin, const float* src,
                          Index n) {
  if (y.dtype == DType::bf16)
    kernels.float_to_bf16(y.as<bf16>() + row * y.cols() + begin, src, n);
  else
    copy_bytes(y.as<float>() + row * y.cols() + begin, src, n * 4);
}

/// Row of y = src (cols).
inline void store_row(const Kernels& kernels, View y, Index row, const float* src) {
  store_columns(kernels, y, row, 0, src, y.cols());
}

}  // namespace pllava::cpu::detail
