// Element types and their conversions. bf16 and f16 are stored as 16-bit integers and rounded to
// nearest even, as PyTorch does.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "pllava/config.hpp"

namespace pllava {

/// Element type of a tensor. `i32` holds token ids and positions, `u8` pixels.
enum class DType : std::uint8_t { f32, f16, bf16, i32, u8 };

/// Bytes of one element.
constexpr Index size_of(DType t) noexcept {
  switch (t) {
    case DType::f32:
    case DType::i32: return 4;
    case DType::f16:
    case DType::bf16: return 2;
    case DType::u8: return 1;
  }
  return 0;
}

constexpr std::string_view name_of(DType t) noexcept {
  switch (t) {
    case DType::f32: return "f32";
    case DType::f16: return "f16";
    case DType::bf16: return "bf16";
    case DType::i32: return "i32";
    case DType::u8: return "u8";
  }
  return "?";
}

/// Whether the type is f32, f16 or bf16: the types of unquantized weights and activations.
constexpr bool is_floating(DType t) noexcept {
  return t == DType::f32 || t == DType::f16 || t == DType::bf16;
}

/// bfloat16, the upper half of an IEEE float: 8 exponent bits, 7 mantissa bits.
struct bf16 {
  std::uint16_t bits = 0;
};

/// IEEE half precision: 5 exponent bits, 10 mantissa bits.
struct f16 {
  std::uint16_t bits = 0;
};

constexpr float to_float(float v) noexcept {
  return v;
}

constexpr float to_float(bf16 v) noexcept {
  return std::bit_cast<float>(static_cast<std::uint32_t>(v.bits) << 16);
}

constexpr float to_float(f16 v) noexcept {
  const std::uint32_t sign = static_cast<std::uint32_t>(v.bits & 0x8000u) << 16;
  const std::uint32_t exponent = (v.bits >> 10) & 0x1fu;
  const std::uint32_t mantissa = v.bits & 0x3ffu;
  if (exponent == 0) {  // zero or subnormal: mantissa · 2^-24
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(magnitude));
  }
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
  return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
}

/// Rounds a float to T, to nearest even. NaN stays NaN; overflow becomes infinity.
template <class T>
constexpr T from_float(float v) noexcept;

template <>
constexpr float from_float<float>(float v) noexcept {
  return v;
}

template <>
constexpr bf16 from_float<bf16>(float v) noexcept {
  const auto u = std::bit_cast<std::uint32_t>(v);
  if ((u & 0x7fffffffu) > 0x7f800000u) return {static_cast<std::uint16_t>((u >> 16) | 0x40u)};
  return {static_cast<std::uint16_t>((u + 0x7fffu + ((u >> 16) & 1u)) >> 16)};
}

template <>
constexpr f16 from_float<f16>(float v) noexcept {
  const auto u = std::bit_cast<std::uint32_t>(v);
  const std::uint32_t sign = (u >> 16) & 0x8000u;
  const std::uint32_t a = u & 0x7fffffffu;
  if (a > 0x7f800000u) return {static_cast<std::uint16_t>(sign | 0x7e00u)};   // NaN
  if (a >= 0x477ff000u) return {static_cast<std::uint16_t>(sign | 0x7c00u)};  // rounds to infinity
  if (a < 0x38800000u) {  // subnormal half: adding 0.5 makes the FPU round at 2^-24
    const float shifted = std::bit_cast<float>(a) + 0.5f;
    return {static_cast<std::uint16_t>(sign | (std::bit_cast<std::uint32_t>(shifted) & 0x7ffu))};
  }
  const std::uint32_t rounded = a + 0xfffu + ((a >> 13) & 1u);
  return {static_cast<std::uint16_t>(sign | ((rounded - 0x38000000u) >> 13))};
}

/// Reads element `i` of an array of floating type `t` as float. Precondition: f32, f16 or bf16.
inline float load_float(const void* data, DType t, Index i) noexcept {
  switch (t) {
    case DType::f32: return static_cast<const float*>(data)[i];
    case DType::f16: return to_float(static_cast<const f16*>(data)[i]);
    case DType::bf16: return to_float(static_cast<const bf16*>(data)[i]);
    default: return 0.0f;
  }
}

/// Writes element `i` of an array of floating type `t`, rounding. Precondition: f32, f16 or bf16.
inline void store_float(void* data, DType t, Index i, float v) noexcept {
  switch (t) {
    case DType::f32: static_cast<float*>(data)[i] = v; break;
    case DType::f16: static_cast<f16*>(data)[i] = from_float<f16>(v); break;
    case DType::bf16: static_cast<bf16*>(data)[i] = from_float<bf16>(v); break;
    default: break;
  }
}

}  // namespace pllava
