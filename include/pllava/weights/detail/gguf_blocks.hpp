// The quantized blocks of GGUF, as ggml defines them. Numbers are little-endian.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "pllava/core/dtype.hpp"
#include "pllava/weights/gguf.hpp"

namespace pllava::detail {

/// Elements and bytes of a block; elements 0 for an unknown type.
struct GgufBlock {
  std::size_t elements = 0, bytes = 0;
};

constexpr GgufBlock block_of(GgufType type) noexcept {
  switch (type) {
    case GgufType::f32: return {1, 4};
    case GgufType::f16:
    case GgufType::bf16: return {1, 2};
    case GgufType::q4_0: return {32, 2 + 16};
    case GgufType::q4_1: return {32, 2 + 2 + 16};
    case GgufType::q5_0: return {32, 2 + 4 + 16};
    case GgufType::q5_1: return {32, 2 + 2 + 4 + 16};
    case GgufType::q8_0: return {32, 2 + 32};
    case GgufType::q4_k: return {256, 2 + 2 + 12 + 128};
    case GgufType::q5_k: return {256, 2 + 2 + 12 + 32 + 128};
    case GgufType::q6_k: return {256, 128 + 64 + 16 + 2};
  }
  return {};
}

inline float half_at(const std::uint8_t* p) noexcept {
  f16 value;
  std::memcpy(&value.bits, p, sizeof value.bits);
  return to_float(value);
}

/// Q4_0, Q4_1, Q5_0 and Q5_1: blocks of 32 with a scale d. The first half of the elements is in the
/// lower 4 bits of the bytes. `kFiveBits`: fifth bits in 4 bytes before them. `kMin`: an offset m
/// after d, and y = d·q + m; otherwise y = d·(q - half of the range).
template <bool kFiveBits, bool kMin>
void dequantize_32(const std::uint8_t* block, float* y) noexcept {
  const float d = half_at(block);
  const float m = kMin ? half_at(block + 2) : 0.0f;
  const std::uint8_t* p = block + (kMin ? 4 : 2);
  std::uint32_t fifth = 0;
  if (kFiveBits) {
    std::memcpy(&fifth, p, sizeof fifth);
    p += sizeof fifth;
  }
  constexpr int kZero = kMin ? 0 : kFiveBits ? 16 : 8;
  for (int i = 0; i < 32; ++i) {
    const int nibble = i < 16 ? p[i] & 15 : p[i - 16] >> 4;
    const int q = nibble | static_cast<int>(fifth >> i & 1u) << 4;
    y[i] = static_cast<float>(q - kZero) * d + m;
  }
}

inline void dequantize_q8_0(const std::uint8_t* block, float* y) noexcept {
  const float d = half_at(block);
  for (int i = 0; i < 32; ++i)
    y[i] = static_cast<float>(static_cast<std::int8_t>(block[2 + i])) * d;
}

/// Scale and minimum of sub-block j of 8, 6 bits each, packed in 12 bytes.
inline std::array<int, 2> scale_and_min(const std::uint8_t* s, int j) noexcept {
  if (j < 4) return {s[j] & 63, s[j + 4] & 63};
  return {(s[j + 4] & 15) | (s[j - 4] >> 6) << 4, s[j + 4] >> 4 | (s[j] >> 6) << 4};
}

/// Q4_K and Q5_K: 8 sub-blocks of 32, y = d·scale·q - dmin·min. Two sub-blocks share 32 bytes.
template <bool kFiveBits>
void dequantize_k(const std::uint8_t* block, float* y) noexcept {
  const float d = half_at(block), dmin = half_at(block + 2);
  const std::uint8_t* const scales = block + 4;
  const std::uint8_t* const fifth = block + 16;
  const std::uint8_t* const low = fifth + (kFiveBits ? 32 : 0);
  for (int j = 0; j < 8; ++j) {
    const auto [scale, min] = scale_and_min(scales, j);
    const float factor = d * static_cast<float>(scale), offset = dmin * static_cast<float>(min);
    for (int i = 0; i < 32; ++i) {
      const std::uint8_t both = low[j / 2 * 32 + i];
      int q = j % 2 == 0 ? both & 15 : both >> 4;
      if (kFiveBits) q |= (fifth[i] >> j & 1) << 4;
      *y++ = factor * static_cast<float>(q) - offset;
    }
  }
}

/// Q6_K: 16 sub-blocks of 16 with signed scales, y = d·scale·(q - 32).
inline void dequantize_q6_k(const std::uint8_t* block, float* y) noexcept {
  const std::uint8_t *low = block, *high = block + 128, *scales = block + 192;
  const float d = half_at(block + 208);
  for (int half = 0; half < 2; ++half) {
    for (int part = 0; part < 4; ++part)  // of 32 elements
      for (int i = 0; i < 32; ++i) {
        const int both = low[half * 64 + part % 2 * 32 + i];
        const int q = (part < 2 ? both & 15 : both >> 4) | (high[half * 32 + i] >> 2 * part & 3)
                                                               << 4;
        const auto scale = static_cast<std::int8_t>(scales[half * 8 + part * 2 + i / 16]);
        *y++ = d * static_cast<float>(scale) * static_cast<float>(q - 32);
      }
  }
}

/// One block to f32. Precondition: a quantized type.
inline void dequantize_block(GgufType type, const std::uint8_t* block, float* y) noexcept {
  switch (type) {
    case GgufType::q4_0: return dequantize_32<false, false>(block, y);
    case GgufType::q4_1: return dequantize_32<false, true>(block, y);
    case GgufType::q5_0: return dequantize_32<true, false>(block, y);
    case GgufType::q5_1: return dequantize_32<true, true>(block, y);
    case GgufType::q8_0: return dequantize_q8_0(block, y);
    case GgufType::q4_k: return dequantize_k<false>(block, y);
    case GgufType::q5_k: return dequantize_k<true>(block, y);
    case GgufType::q6_k: return dequantize_q6_k(block, y);
    case GgufType::f32:
    case GgufType::f16:
    case GgufType::bf16: return;
  }
}

}  // namespace pllava::detail
