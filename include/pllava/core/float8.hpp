// The 8-bit floating-point format e4m3 (OCP 8-bit Floating Point Specification, revision 1.0),
// which GPUs multiply natively: a sign, 4 bits of exponent with bias 7, 3 of mantissa. Values from
// 2^-9 to 448, no infinity; the codes 0x7f and 0xff are NaN.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

namespace pllava {

inline constexpr float kLargestE4m3 = 448;

inline bool is_number_e4m3(std::uint8_t code) noexcept {
  return (code & 0x7fu) != 0x7fu;
}

/// The value of a code. Precondition: not NaN.
inline float e4m3_to_float(std::uint8_t code) noexcept {
  const std::uint32_t bits = (code & 0x80u) << 24 | (code & 0x7fu) << 20;
  return std::bit_cast<float>(bits) * 0x1p120f;  // exponents of 8 bits have bias 127
}

/// Rounds to nearest, ties to even; saturates at 448; NaN becomes 0x7f.
inline std::uint8_t float_to_e4m3(float x) noexcept {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  const auto sign = static_cast<std::uint8_t>(bits >> 24 & 0x80u);
  const float magnitude = std::fabs(x);
  std::uint32_t code = 0x7f;
  if (magnitude >= kLargestE4m3) {
    code = 0x7e;
  } else if (magnitude < 0x1p-6f) {
    code = static_cast<std::uint32_t>(std::nearbyint(magnitude * 512));
  } else if (magnitude == magnitude) {
    const std::uint32_t plain = bits & 0x7fffffffu, half = 0x7ffffu + (plain >> 20 & 1u);
    code = ((plain + half) >> 20) - (120u << 3);
  }
  return static_cast<std::uint8_t>(code | sign);
}

}  // namespace pllava
