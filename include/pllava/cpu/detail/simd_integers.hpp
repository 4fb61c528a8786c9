// The kernels of an instruction set that only improves integer products. See simd_base.hpp. The
// order matters: int4 kernels use those of int8.

// clang-format off
#include "pllava/cpu/detail/simd_base.hpp"
#include "pllava/cpu/detail/simd_int8.hpp"
#include "pllava/cpu/detail/simd_int4.hpp"
// clang-format on

constexpr Kernels with_integers(Kernels table) {
  return with_int4(with_int8(table));
}
