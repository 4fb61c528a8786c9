// Reading matrices of int8 and int4.
#pragma once

#include "simt.cuh"

namespace pllava::cuda::kernels {

/// Numbers of a pack of 16 bytes: multiplier · (value - zero).
struct Factors {
  float multiplier, zero;
};

template <int Bits>
PLLAVA_DEVICE Factors factors(const IntegerMatrix& w, std::int64_t row, int pack) {
  if constexpr (Bits == 8) {
    return {1.0f, 128.0f};
  } else {
    const int groups = ((w.packs - 1) >> w.group_shift) + 1;
    const std::int64_t at = row * groups + (pack >> w.group_shift);
    return {static_cast<float>(w.multipliers[at]),
            w.zeros != nullptr ? static_cast<float>(w.zeros[at]) : 8.0f};
  }
}

/// The values of a word, the lowest bits first, minus `zero`; exact. Instead of a conversion from
/// integers, of which a GPU does fewer at a time than additions, the bits of a value become part of
/// the fraction of a power of two whose lowest bits weigh as much.
template <int Bits>
PLLAVA_DEVICE void unpack(float (&values)[32 / Bits], std::uint32_t word, float zero) {
  constexpr std::uint32_t kMask = (1u << Bits) - 1;
  PLLAVA_UNROLL
  for (int i = 0; i < 32 / Bits; ++i) {
    const int shift = i * Bits % 16;
    const std::uint32_t bits = (i * Bits < 16 ? word : word >> 16) & (kMask << shift);
    const std::uint32_t exponent = 127u + 23u - static_cast<std::uint32_t>(shift);
    values[i] = float_of(bits | exponent << 23) - (static_cast<float>(1 << (23 - shift)) + zero);
  }
}

}  // namespace pllava::cuda::kernels
