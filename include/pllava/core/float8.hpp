// The 8-bit floating-point format e4m3 (OCP 8-bit Floating Point Specification, revision 1.0),
// which GPUs multiply natively: a sign, 4 exponent bits with bias 7, 3 mantissa bits. Magnitudes
// are 0 and 2^-9 to 448; there is no infinity; the codes 0x7f and 0xff are NaN.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

namespace pllava {

inline constexpr float kMaxE4m3 = 448;

/// Whether a code is not NaN.
inline bool is_finite_e4m3(std::uint8_t code) noexcept {
  return (code & 0x7fu) != 0x7fu;
}

/// The value of a code. Precondition: not NaN.
inline float e4m3_to_float(std::uint8_t code) noexcept {
  const std::uint32_t bits = (code & 0x80u) << 24 | (code & 0x7fu) << 20;
  return std::bit_cast<float>(bits) * 0x1p120f;  // f32 has exponent bias 127: 127 - 7 = 120
}

/// Rounds to nearest, ties to even; saturates at 448; NaN becomes 0x7f.
inline std::uint8_t float_to_e4m3(float x) noexcept {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  const auto sign = static_cast<std::uint8_t>(bits >> 24 & 0x80u);
  const float magnitude = std::fabs(x);
  std::uint32_t code = 0x7f;
  if (magnitude >= kMaxE4m3) {
    code = 0x7e;
  } else if (magnitude < 0x1p-6f) {
    code = static_cast<std::uint32_t>(std::nearbyint(magnitude * 512));
  } else if (magnitude == magnitude) {
    const std::uint32_t unsigned_bits = bits & 0x7fffffffu;
    const std::uint32_t half = 0x7ffffu + (unsigned_bits >> 20 & 1u);  // rounds ties to even
    code = ((unsigned_bits + half) >> 20) - (120u << 3);
  }
  return static_cast<std::uint8_t>(code | sign);
}

}  // namespace pllava
