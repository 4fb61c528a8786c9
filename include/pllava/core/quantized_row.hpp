// Quantization of one row of a matrix; see core/quantization.hpp for the formats.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "pllava/config.hpp"
#include "pllava/core/float8.hpp"
#include "pllava/core/quantization.hpp"
#include "pllava/core/rotation.hpp"
#include "pllava/error.hpp"

namespace pllava {

/// A quantized row; in int8 and int4 a rotated one. `values` are the integer + 128 in int8, 0 to 15
/// in int4, e4m3 codes in fp8.
struct QuantizedRow {
  std::vector<std::uint8_t> values;        // (K)
  std::vector<std::uint8_t> group_scales;  // (groups), int4
  std::vector<std::uint8_t> zero_points;   // (groups), int4
  float channel_scale = 0;

  /// The weight that `values[k]` encodes, of the rotated row in int8 and int4.
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

/// Rounds to the nearest integer, ties to even; |v| < 2^22. Unlike std::nearbyint it vectorizes.
inline float round_to_even(float v) noexcept {
  constexpr float kShift = 12582912.0f;  // 1.5 · 2^23
  return (v + kShift) - kShift;
}

/// Quantizes a group with the given step. Returns the sum of squared errors.
inline float quantize_group(std::span<const float> w, float step, int zero_point,
                            std::uint8_t* values) {
  const float inverse = 1.0f / step, z = static_cast<float>(zero_point);
  float error = 0;
  for (std::size_t k = 0; k < w.size(); ++k) {
    const float n = std::clamp(round_to_even(w[k] * inverse) + z, 0.0f, 15.0f);
    const float e = w[k] - (n - z) * step;
    error += e * e;
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
  row.channel_scale = max / kMaxE4m3;
  const float inverse = max > 0 ? kMaxE4m3 / max : 0;
  for (std::size_t k = 0; k < w.size(); ++k) row.values[k] = float_to_e4m3(w[k] * inverse);
}

/// The largest |value - zero_point| of a 4-bit value.
inline int max_difference(int zero_point) noexcept {
  return std::max(zero_point, 15 - zero_point);
}

/// Number of groups in a row of `cols` values; 0 for formats without groups.
inline std::size_t groups_of(const Quantization& q, Index cols) noexcept {
  return q.format == WeightFormat::int4 ? static_cast<std::size_t>((cols + q.group - 1) / q.group)
                                        : 0;
}

/// Sets the zero point of a group. Returns its ideal step: group scale times channel scale, before
/// the group scale is rounded.
inline float int4_step(std::span<const float> w, bool asymmetric, std::uint8_t& zero_point) {
  float low = 0, high = 0;
  for (const float v : w) low = std::min(low, v), high = std::max(high, v);
  if (!asymmetric) return std::max(-low / 8, high / 7);
  const float step = (high - low) / 15;
  if (step > 0) zero_point = static_cast<std::uint8_t>(round_to_even(-low / step));
  return step;
}

/// A group of an int4 row.
struct Int4Group {
  std::span<const float> w;
  float step;  // ideal
  float channel_scale;
  int zero_point;
  std::uint8_t* values;  // output
};

/// Quantizes a group with the group scale of the smallest error, among the ideal scale and smaller
/// ones that clip the largest values. Returns that scale.
inline std::uint8_t quantize_int4_group(const Int4Group& g, std::span<std::uint8_t> candidate) {
  const float ideal = g.step / g.channel_scale;
  const int max_scale = 127 / max_difference(g.zero_point);
  float least_error = HUGE_VALF;
  int last_scale = 0, best_scale = 1;
  const auto attempt = [&](float target) {
    const int scale = std::clamp(static_cast<int>(target), 1, max_scale);
    if (scale == last_scale) return;
    last_scale = scale;
    const float error = quantize_group(g.w, static_cast<float>(scale) * g.channel_scale,
                                       g.zero_point, candidate.data());
    if (error >= least_error) return;
    least_error = error;
    best_scale = scale;
    std::copy_n(candidate.begin(), g.w.size(), g.values);
  };
  attempt(std::ceil(ideal));
  attempt(std::floor(ideal));
  attempt(std::floor(0.87f * ideal));
  return static_cast<std::uint8_t>(best_scale);
}

inline void quantize_int4(std::span<const float> w, const Quantization& q, QuantizedRow& row) {
  const auto size = static_cast<std::size_t>(q.group);
  const std::size_t groups = groups_of(q, static_cast<Index>(w.size()));
  row.group_scales.assign(groups, 1);
  row.zero_points.assign(groups, kSymmetricZeroPoint);
  const auto group_of = [&](std::size_t g) {
    return w.subspan(g * size, std::min(size, w.size() - g * size));
  };
  std::vector<float> steps(groups);
  float max = 0;
  for (std::size_t g = 0; g < groups; ++g) {
    steps[g] = int4_step(group_of(g), q.zero_points, row.zero_points[g]);
    max = std::max(max, steps[g] * static_cast<float>(max_difference(row.zero_points[g])));
  }
  row.channel_scale = max / 127;
  std::vector<std::uint8_t> candidate(size);
  for (std::size_t g = 0; g < groups; ++g) {
    const std::span<const float> group = group_of(g);
    std::uint8_t* values = row.values.data() + g * size;
    if (steps[g] == 0)
      std::fill_n(values, group.size(), row.zero_points[g]);
    else
      row.group_scales[g] = quantize_int4_group(
          {group, steps[g], row.channel_scale, row.zero_points[g], values}, candidate);
  }
}

/// Quantizes a row that is rotated already, if its format is.
inline QuantizedRow quantize_rotated(std::span<const float> w, const Quantization& q) {
  QuantizedRow row;
  row.values.resize(w.size());
  switch (q.format) {
    case WeightFormat::unquantized: break;
    case WeightFormat::int8: quantize_int8(w, row); break;
    case WeightFormat::int4: quantize_int4(w, q, row); break;
    case WeightFormat::fp8: quantize_fp8(w, row); break;
  }
  return row;
}

}  // namespace detail

/// Quantizes one row of a matrix to int8, int4 or fp8; int8 and int4 rotate it first. Throws
/// ArgumentError if a value is not finite.
inline QuantizedRow quantize(std::span<const float> row, const Quantization& q) {
  std::vector<float> w(row.begin(), row.end());
  for (const float v : w)
    if (!std::isfinite(v)) throw ArgumentError("a weight is not finite and cannot be quantized");
  if (is_rotated(q)) rotate(w);
  return detail::quantize_rotated(w, q);
}

}  // namespace pllava
