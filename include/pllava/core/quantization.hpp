// Weight formats with 8 and 4 bits.
//
// A row of a matrix is the weights of one output channel. int8 stores 8-bit integers and a channel
// scale. int4 stores 4-bit values, and for each group of input channels a group scale and a zero
// point, both 8-bit integers:
//
//     w[k] ≈ channel_scale · group_scale[k / group] · (value[k] - zero_point[k / group])
//
// |group_scale · (value - zero_point)| is at most 127, so a kernel may unpack int4 to int8 without
// changing a result. These are the two-level scales of QServe (arXiv 2405.04532, section 4.1).
//
// fp8 stores e4m3 values and a channel scale.
//
// int8 and int4 store rows whose input channels have been rotated (core/rotation.hpp), and multiply
// rotated activations.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "pllava/config.hpp"
#include "pllava/core/dtype.hpp"
#include "pllava/error.hpp"

namespace pllava {

enum class WeightFormat : std::uint8_t {
  unquantized,  ///< f32, f16 or bf16, as the backend computes
  int8,         ///< 8-bit integers, a scale per output channel
  int4,         ///< 4-bit integers, also a scale and optionally a zero point per group of inputs
  fp8           ///< e4m3, a scale per output channel
};

constexpr std::string_view name_of(WeightFormat f) noexcept {
  switch (f) {
    case WeightFormat::unquantized: return "unquantized";
    case WeightFormat::int8: return "int8";
    case WeightFormat::int4: return "int4";
    case WeightFormat::fp8: return "fp8";
  }
  return "?";
}

/// The format of a matrix.
struct Quantization {
  WeightFormat format = WeightFormat::unquantized;
  Index group = 32;          ///< int4: input channels per group, 32 or 128
  bool zero_points = false;  ///< int4: asymmetric ranges, with a zero point per group

  bool operator==(const Quantization&) const = default;
};

/// Whether rows of weights and activations are rotated.
constexpr bool is_rotated(const Quantization& q) noexcept {
  return q.format == WeightFormat::int8 || q.format == WeightFormat::int4;
}

/// Zero point of int4 formats without zero points, whose ranges are symmetric about zero.
inline constexpr int kSymmetricZeroPoint = 8;

/// Bits per weight, including group scales and zero points. `dtype` is the type of unquantized
/// weights.
constexpr double bits_per_weight(const Quantization& q, DType dtype) noexcept {
  const double bytes_per_group = q.zero_points ? 2 : 1;
  switch (q.format) {
    case WeightFormat::unquantized: break;
    case WeightFormat::int8:
    case WeightFormat::fp8: return 8;
    case WeightFormat::int4: return 4 + 8 * bytes_per_group / static_cast<double>(q.group);
  }
  return 8 * static_cast<double>(size_of(dtype));
}

/// Throws ArgumentError for a group that is neither 32 nor 128.
inline void require_valid(const Quantization& q) {
  if (q.format == WeightFormat::int4 && q.group != 32 && q.group != 128)
    throw ArgumentError("int4 group size: expected 32 or 128, got " + std::to_string(q.group));
}

}  // namespace pllava
