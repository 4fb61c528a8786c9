// Weight formats of 8 and 4 bits, and the quantization of one row.
//
// Both integer formats store a row (an output channel) as 8-bit integers and one channel scale. In
// int4 these integers are built from 4-bit values: the values of a group share a group scale and a
// zero point, both 8-bit integers,
//
//     w[k] ≈ channel_scale · group_scale[k / group] · (value[k] - zero_point[k / group])
//
// and |group_scale · (value - zero_point)| is at most 127. So every int4 matrix is an int8 matrix
// in less memory: a kernel may unpack it, and the integer sums are equal either way. These are the
// two-level scales of QServe (arXiv 2405.04532, section 4.1).
//
// fp8 stores e4m3 values in units of a channel scale.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "pllava/config.hpp"
#include "pllava/core/dtype.hpp"
#include "pllava/core/float8.hpp"
#include "pllava/error.hpp"

namespace pllava {

enum class WeightFormat : std::uint8_t {
  unquantized,  ///< the type that the backend computes in
  int8,         ///< 8 bits, a scale for each output channel
  int4,         ///< 4 bits, groups along the input with a multiplier and perhaps a zero point each
  fp8           ///< 8 bits, e4m3, a scale for each output channel
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

/// Bits per weight, including scales and zero points of groups. `unquantized` is the type of
/// weights that are not quantized.
constexpr double bits_per_weight(const Quantization& q, DType unquantized) noexcept {
  const double bytes_per_group = q.zero_points ? 2 : 1;
  switch (q.format) {
    case WeightFormat::unquantized: break;
    case WeightFormat::int8:
    case WeightFormat::fp8: return 8;
    case WeightFormat::int4: return 4 + 8 * bytes_per_group / static_cast<double>(q.group);
  }
  return 8 * static_cast<double>(size_of(unquantized));
}

/// Throws ArgumentError for a group that is neither 32 nor 128.
inline void require_valid(const Quantization& q) {
  if (q.format == WeightFormat::int4 && q.group != 32 && q.group != 128)
    throw ArgumentError("int4 weights have groups of 32 or 128, not of " + std::to_string(q.group));
}

/// Zero point of int4 formats without zero points: their ranges are symmetric about zero.
inline constexpr int kSymmetricZeroPoint = 8;

/// One quantized row. `values` hold value + 128 in int8, 0 to 15 in int4, e4m3 codes in fp8.
struct QuantizedRow {
  std::vector<std::uint8_t> values;        // (K)
  std::vector<std::uint8_t> group_scales;  // (groups), int4
  std::vector<std::uint8_t> zero_points;   // (groups), int4
  float channel_scale = 0;

  /// The weight that `values[k]` encodes.
  float dequantized(const Quantization& q, std::size_t k) const {
    return channel_scale * (q.format == WeightFormat::fp8 ? e4m3_to_float(values[k])
                                                          : static_cast<float>(int8_value(q, k)));
  }
  /// The same in units of `channel_scale`, -127 to 127. Not for fp8.
  int int8_value(const Quantization& q, std::size_t k) const {
    if (q.format == WeightFormat::int8) return values[k] - 128;
    const std::size_t g = k / static_cast<std::size_t>(q.group);
    return (values[k] - zero_points[g]) * group_scales[g];
  }
};

namespace detail {

/// Rounds to the nearest integer, ties to even; |v| < 2^22. Unlike std::nearbyint it vectorises.
inline float round_to_even(float v) noexcept {
  constexpr float kShift = 12582912.0f;  // 1.5 · 2^23
  return (v + kShift) - kShift;
}

/// Quantizes a group with the given step. Returns the sum of squared errors, each weighted by its
/// importance where that is given.
inline float quantize_group(std::span<const float> w, std::span<const float> importance, float step,
                            int zero_point, std::uint8_t* values) {
  const float inverse = 1.0f / step, z = static_cast<float>(zero_point);
  float error = 0;
  for (std::size_t k = 0; k < w.size(); ++k) {
    const float n = std::clamp(round_to_even(w[k] * inverse) + z, 0.0f, 15.0f);
    const float e = w[k] - (n - z) * step;
    error += importance.empty() ? e * e : importance[k] * e * e;
    values[k] = static_cast<std::uint8_t>(n);
  }
  return error;
}

inline float max_magnitude(std::span<const float> w) noexcept {
  float max = 0;
  for (const float v : w) max = std::max(max, std::fabs(v));
  return max;
}

inline void quantize_int8(std::span<const float> w, QuantizedRow& row) {
  const float max = max_magnitude(w);
  row.channel_scale = max / 127;
  const float inverse = max > 0 ? 127 / max : 0;
  for (std::size_t k = 0; k < w.size(); ++k)
    row.values[k] =
        static_cast<std::uint8_t>(static_cast<int>(round_to_even(w[k] * inverse)) + 128);
}

inline void quantize_fp8(std::span<const float> w, QuantizedRow& row) {
  const float max = max_magnitude(w);
  row.channel_scale = max / kLargestE4m3;
  const float inverse = max > 0 ? kLargestE4m3 / max : 0;
  for (std::size_t k = 0; k < w.size(); ++k) row.values[k] = float_to_e4m3(w[k] * inverse);
}

/// Chooses the scale of each group by its squared error, among the ideal one and smaller ones that
/// clip the largest value.
inline void quantize_int4(std::span<const float> w, const Quantization& q,
                          std::span<const float> importance, QuantizedRow& row) {
  const auto size = static_cast<std::size_t>(q.group);
  const std::size_t groups = (w.size() + size - 1) / size;
  row.group_scales.assign(groups, 1);
  row.zero_points.assign(groups, kSymmetricZeroPoint);
  std::vector<float> steps(groups);
  const auto group_of = [&](std::span<const float> all, std::size_t g) {
    return all.empty() ? all : all.subspan(g * size, std::min(size, all.size() - g * size));
  };
  const auto max_difference = [&](std::size_t g) {  // the largest |value - zero point|
    return std::max<int>(row.zero_points[g], 15 - row.zero_points[g]);
  };
  float max = 0;
  for (std::size_t g = 0; g < groups; ++g) {
    float low = 0, high = 0;
    for (const float v : group_of(w, g)) low = std::min(low, v), high = std::max(high, v);
    if (q.zero_points) {
      steps[g] = (high - low) / 15;
      if (steps[g] > 0)
        row.zero_points[g] = static_cast<std::uint8_t>(round_to_even(-low / steps[g]));
    } else {
      steps[g] = std::max(-low / 8, high / 7);
    }
    max = std::max(max, steps[g] * static_cast<float>(max_difference(g)));
  }
  row.channel_scale = max / 127;
  std::vector<std::uint8_t> candidate(size);
  for (std::size_t g = 0; g < groups; ++g) {
    const std::span<const float> group = group_of(w, g);
    const auto values = row.values.begin() + static_cast<Index>(g * size);
    if (steps[g] == 0) {
      std::fill_n(values, group.size(), row.zero_points[g]);
      continue;
    }
    const float ideal = steps[g] / row.channel_scale;
    const int max_scale = 127 / max_difference(g);
    float least_error = HUGE_VALF;
    int last_scale = 0;
    const auto attempt = [&](float wanted) {
      const int scale = std::clamp(static_cast<int>(wanted), 1, max_scale);
      if (scale == last_scale) return;
      last_scale = scale;
      const float error = quantize_group(group, group_of(importance, g),
                                         static_cast<float>(scale) * row.channel_scale,
                                         row.zero_points[g], candidate.data());
      if (error >= least_error) return;
      least_error = error;
      row.group_scales[g] = static_cast<std::uint8_t>(scale);
      std::copy_n(candidate.begin(), group.size(), values);
    };
    attempt(std::ceil(ideal));
    attempt(std::floor(ideal));
    if (importance.empty())
      attempt(std::floor(0.87f * ideal));
    else  // with unequal importance, stronger clipping may pay: down to half
      for (float scale = std::floor(ideal) - 1; 2 * scale >= ideal; --scale) attempt(scale);
  }
}

/// Number of groups in a row of `cols` values; 0 for formats without groups.
inline std::size_t groups_of(const Quantization& q, Index cols) noexcept {
  return q.format == WeightFormat::int4 ? static_cast<std::size_t>((cols + q.group - 1) / q.group)
                                        : 0;
}

}  // namespace detail

/// Quantizes one row of a matrix to int8, int4 or fp8. `importance` (K), 0 or more each, weights
/// the squared error of each input channel (int4 only); empty: all channels equally. Throws
/// ArgumentError if a value is not finite.
inline QuantizedRow quantize(std::span<const float> w, const Quantization& q,
                             std::span<const float> importance = {}) {
  for (const float v : w)
    if (!std::isfinite(v)) throw ArgumentError("a weight is not finite and cannot be quantized");
  QuantizedRow row;
  row.values.resize(w.size());
  switch (q.format) {
    case WeightFormat::unquantized: break;
    case WeightFormat::int8: detail::quantize_int8(w, row); break;
    case WeightFormat::int4: detail::quantize_int4(w, q, importance, row); break;
    case WeightFormat::fp8: detail::quantize_fp8(w, row); break;
  }
  return row;
}

// ---- rows in a file
//
// channel scale f32 | group scales | zero points, where the format has them | values: one byte each
// in int8 and fp8, two per byte in int4, the even one in the low half. Little-endian, as
// safetensors.

/// Bytes of a stored row.
inline Index stored_row_bytes(const Quantization& q, Index cols) noexcept {
  const auto groups = static_cast<Index>(detail::groups_of(q, cols));
  return 4 + groups * (q.zero_points ? 2 : 1) +
         (q.format == WeightFormat::int4 ? (cols + 1) / 2 : cols);
}

inline void store_row(std::byte* out, const QuantizedRow& row, const Quantization& q) {
  const auto put = [&out](const void* data, std::size_t size) {
    if (size > 0) std::memcpy(out, data, size);
    out += size;
  };
  put(&row.channel_scale, 4);
  put(row.group_scales.data(), row.group_scales.size());
  if (q.format == WeightFormat::int4 && q.zero_points)
    put(row.zero_points.data(), row.zero_points.size());
  if (q.format != WeightFormat::int4) return put(row.values.data(), row.values.size());
  for (std::size_t k = 0; k < row.values.size(); k += 2) {
    const unsigned high = k + 1 < row.values.size() ? row.values[k + 1] : 0u;
    *out++ = static_cast<std::byte>(row.values[k] | (high << 4));
  }
}

/// Reads a row that store_row wrote; `with_values` false leaves the values out. Throws
/// ArgumentError for scales or zero points that no quantized row has.
inline QuantizedRow load_row(const std::byte* in, Index cols, const Quantization& q,
                             bool with_values = true) {
  QuantizedRow row;
  const auto get = [&in](std::vector<std::uint8_t>& to, std::size_t size) {
    to.resize(size);
    if (size > 0) std::memcpy(to.data(), in, size);
    in += size;
  };
  std::memcpy(&row.channel_scale, in, 4);
  in += 4;
  if (!std::isfinite(row.channel_scale) || row.channel_scale < 0)
    throw ArgumentError("the channel scale is negative or not finite");
  const std::size_t groups = detail::groups_of(q, cols);
  get(row.group_scales, groups);
  row.zero_points.assign(groups, kSymmetricZeroPoint);
  if (q.zero_points) get(row.zero_points, groups);
  for (std::size_t g = 0; g < groups; ++g) {
    const int max_difference = std::max<int>(row.zero_points[g], 15 - row.zero_points[g]);
    if (row.zero_points[g] > 15 || row.group_scales[g] * max_difference > 127)
      throw ArgumentError("a group scale or zero point exceeds the 8-bit range");
  }
  if (!with_values) return row;
  const auto size = static_cast<std::size_t>(cols);
  if (q.format != WeightFormat::int4) {
    get(row.values, size);
    if (q.format == WeightFormat::fp8 && !std::ranges::all_of(row.values, is_number_e4m3))
      throw ArgumentError("an fp8 value is not a number");
    return row;
  }
  row.values.resize(size);
  for (std::size_t k = 0; k < size; ++k) {
    const auto byte = static_cast<unsigned>(in[k / 2]);
    row.values[k] = static_cast<std::uint8_t>(k % 2 == 0 ? byte & 15u : byte >> 4);
  }
  return row;
}

}  // namespace pllava
