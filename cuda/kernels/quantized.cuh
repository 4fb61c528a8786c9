// Reads of int8, int4 and e4m3 weights.
#pragma once

#include "simt.cuh"

namespace pllava::cuda::kernels {

template <QuantizedType type>
constexpr int kBits = bits_of(type);

/// Values in a 32-bit word.
template <QuantizedType type>
constexpr int kWordValues = 32 / kBits<type>;

/// Scale and zero point of a group: weight = channel scale * group scale * (value - zero point).
struct GroupScale {
  float scale, zero_point;
};

/// Of the group of a pack.
template <QuantizedType type>
PLLAVA_DEVICE GroupScale group_scale(const QuantizedMatrix& w, std::int64_t row, int pack) {
  if constexpr (type == QuantizedType::int4) {
    const int groups = ((w.packs - 1) >> w.log2_group_packs) + 1;
    const std::int64_t at = row * groups + (pack >> w.log2_group_packs);
    return {static_cast<float>(w.group_scales[at]),
            w.zero_points != nullptr ? static_cast<float>(w.zero_points[at]) : 8.0f};
  } else {
    return {1.0f, type == QuantizedType::int8 ? 128.0f : 0.0f};
  }
}

/// The values of a word, lowest bits first, minus the zero point (which e4m3 does not have); exact.
/// GPUs have a lower rate for integer conversions than for additions, so the bits of a value are
/// placed in the fraction of a power of two of matching weight, which is then subtracted.
template <QuantizedType type>
PLLAVA_DEVICE void unpack_word(float (&values)[kWordValues<type>], std::uint32_t word,
                               float zero_point) {
  constexpr int kWidth = kBits<type>;
  constexpr std::uint32_t kMask = (1u << kWidth) - 1;
  static_assert(32 % kWidth == 0 && 16 % kWidth == 0);
  PLLAVA_UNROLL
  for (int i = 0; i < kWordValues<type>; ++i) {
    if constexpr (type == QuantizedType::e4m3) {
      values[i] = to_float(e4m3{static_cast<std::uint8_t>(word >> (i * kWidth))});
    } else {
      const int shift = i * kWidth % 16;
      const std::uint32_t bits = (i * kWidth < 16 ? word : word >> 16) & (kMask << shift);
      const std::uint32_t exponent = 127u + 23u - static_cast<std::uint32_t>(shift);
      values[i] =
          float_of(bits | exponent << 23) - (static_cast<float>(1 << (23 - shift)) + zero_point);
    }
  }
}

/// Calls body(std::integral_constant) with the type.
template <class Body>
int with_quantized_type(QuantizedType type, Body&& body) {
  switch (type) {
    case QuantizedType::int8:
      return body(std::integral_constant<QuantizedType, QuantizedType::int8>{});
    case QuantizedType::int4:
      return body(std::integral_constant<QuantizedType, QuantizedType::int4>{});
    case QuantizedType::e4m3:
      return body(std::integral_constant<QuantizedType, QuantizedType::e4m3>{});
  }
  return kInvalidValue;
}

}  // namespace pllava::cuda::kernels
