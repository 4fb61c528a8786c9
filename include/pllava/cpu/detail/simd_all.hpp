// All kernels of one instruction set. See simd_base.hpp. The order matters: later files use earlier
// ones.

// clang-format off
#include "pllava/cpu/detail/simd_integers.hpp"
#include "pllava/cpu/detail/simd_math.hpp"
#include "pllava/cpu/detail/simd_f32.hpp"
#include "pllava/cpu/detail/simd_bf16.hpp"
#include "pllava/cpu/detail/simd_rowwise.hpp"
#include "pllava/cpu/detail/simd_rotation.hpp"
#include "pllava/cpu/detail/simd_attention.hpp"
// clang-format on

constexpr Kernels with_all(Kernels table) {
  return with_attention(with_rotation(with_rowwise(with_integers(with_bf16(with_f32(table))))));
}
