// Reading matrices of int8, int4 and e4m3.
#pragma once

#include "simt.cuh"

namespace pllava::cuda::kernels {

template <Code code>
constexpr int kBits = bits_of(code);

/// Numbers of a pack of 16 bytes: multiplier · (value - zero).
struct Factors {
  float multiplier, zero;
};

template <Code code>
PLLAVA_DEVICE Factors factors(const RoundedMatrix& w, std::int64_t row, int pack) {
  if constexpr (code == Code::int4) {
    const int groups = ((w.packs - 1) >> w.group_shift) + 1;
    const std::int64_t at = row * groups + (pack >> w.group_shift);
    return {static_cast<float>(w.multipliers[at]),
            w.zeros != nullptr ? static_cast<float>(w.zeros[at]) : 8.0f};
  } else {
    return {1.0f, code == Code::int8 ? 128.0f : 0.0f};
  }
}

/// The values of a word, the lowest bits first, minus `zero`, which e4m3 has not; exact. Instead of
/// a conversion from integers, of which a GPU does fewer at a time than additions, the bits of a
/// value become part of the fraction of a power of two whose lowest bits weigh as much.
template <Code code>
PLLAVA_DEVICE void unpack(float (&values)[32 / kBits<code>], std::uint32_t word, float zero) {
  constexpr int kWidth = kBits<code>;
  constexpr std::uint32_t kMask = (1u << kWidth) - 1;
  PLLAVA_UNROLL
  for (int i = 0; i < 32 / kWidth; ++i) {
    if constexpr (code == Code::e4m3) {
      values[i] = to_float(e4m3{static_cast<std::uint8_t>(word >> (i * kWidth))});
    } else {
      const int shift = i * kWidth % 16;
      const std::uint32_t bits = (i * kWidth < 16 ? word : word >> 16) & (kMask << shift);
      const std::uint32_t exponent = 127u + 23u - static_cast<std::uint32_t>(shift);
      values[i] = float_of(bits | exponent << 23) - (static_cast<float>(1 << (23 - shift)) + zero);
    }
  }
}

/// Calls body(integral constant) with the code.
template <class Body>
int with_code(Code code, Body&& body) {
  switch (code) {
    case Code::int8: return body(std::integral_constant<Code, Code::int8>{});
    case Code::int4: return body(std::integral_constant<Code, Code::int4>{});
    case Code::e4m3: return body(std::integral_constant<Code, Code::e4m3>{});
  }
  return 1;  // cudaErrorInvalidValue
}

}  // namespace pllava::cuda::kernels
