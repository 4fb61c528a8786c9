// Matrices of 8 and 4 bits: what a weight may be rounded to, and the rounding of one row.
//
// Both formats round a row (an output channel) to integers of 8 bits and one scale. In int4 those
// integers are built from 4 bits: a group of values shares a multiplier and a zero point,
//
//     w[k] ≈ scale · multiplier[k / group] · (nibble[k] - zero[k / group])
//
// and the product of the two integers always fits 8 bits. So every int4 matrix is an int8 matrix in
// less memory: any kernel may unpack it, and integer sums agree to the bit whichever way is taken.
// Two levels of integers as in QServe (arXiv 2405.04532, section 4.1).
//
// fp8 has no integers: a row is e4m3 numbers in units of a scale. GPUs multiply them fast.
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
  plain,  ///< the type that the backend computes in
  int8,   ///< 8 bits, a scale for each output channel
  int4,   ///< 4 bits, groups along the input with a multiplier and perhaps a zero point each
  fp8     ///< 8 bits, e4m3, a scale for each output channel
};

constexpr std::string_view name_of(WeightFormat f) noexcept {
  switch (f) {
    case WeightFormat::plain: return "plain";
    case WeightFormat::int8: return "int8";
    case WeightFormat::int4: return "int4";
    case WeightFormat::fp8: return "fp8";
  }
  return "?";
}

/// How a matrix is to be stored.
struct Quantization {
  WeightFormat format = WeightFormat::plain;
  Index group = 32;          ///< int4: input channels that share a multiplier, 32 or 128
  bool zero_points = false;  ///< int4: ranges that are not symmetric about zero

  bool operator==(const Quantization&) const = default;
};

/// Bits that a weight takes, its share of the factors of its group included; `plain` is the type of
/// weights that are not rounded.
constexpr double bits_of(const Quantization& q, DType plain) noexcept {
  const double kinds = q.zero_points ? 2 : 1;  // of factors, a byte each
  switch (q.format) {
    case WeightFormat::plain: break;
    case WeightFormat::int8:
    case WeightFormat::fp8: return 8;
    case WeightFormat::int4: return 4 + 8 * kinds / static_cast<double>(q.group);
  }
  return 8 * static_cast<double>(size_of(plain));
}

/// Throws ArgumentError for a group that is neither 32 nor 128.
inline void require_valid(const Quantization& q) {
  if (q.format == WeightFormat::int4 && q.group != 32 && q.group != 128)
    throw ArgumentError("int4 weights have groups of 32 or 128, not of " + std::to_string(q.group));
}

/// The middle nibble, which stands for zero where a format has no zero points.
inline constexpr int kMiddle = 8;

/// One row. In int8, `values` hold value + 128; in int4, nibbles of 0 to 15; in fp8, codes.
struct QuantizedRow {
  std::vector<std::uint8_t> values;       // (K)
  std::vector<std::uint8_t> multipliers;  // (groups), int4
  std::vector<std::uint8_t> zeros;        // (groups), int4
  float scale = 0;

  /// What `values[k]` stands for.
  float number(const Quantization& q, std::size_t k) const {
    return scale * (q.format == WeightFormat::fp8 ? e4m3_to_float(values[k])
                                                  : static_cast<float>(integer(q, k)));
  }
  /// The same in units of `scale`, -127 to 127; not of fp8.
  int integer(const Quantization& q, std::size_t k) const {
    if (q.format == WeightFormat::int8) return values[k] - 128;
    const std::size_t g = k / static_cast<std::size_t>(q.group);
    return (values[k] - zeros[g]) * multipliers[g];
  }
};

namespace detail {

/// To the nearest integer, ties to even; |v| < 2^22. Unlike std::nearbyint it can be vectorised.
inline float rounded(float v) noexcept {
  constexpr float kShift = 12582912.0f;  // 1.5 · 2^23
  return (v + kShift) - kShift;
}

/// Rounds a group with the step `multiplier · scale`; returns the sum of squared errors, each times
/// its importance where that is given.
inline float round_group(std::span<const float> w, std::span<const float> importance, float step,
                         int zero, std::uint8_t* nibbles) {
  const float inverse = 1.0f / step, z = static_cast<float>(zero);
  float error = 0;
  for (std::size_t k = 0; k < w.size(); ++k) {
    const float n = std::clamp(rounded(w[k] * inverse) + z, 0.0f, 15.0f);
    const float e = w[k] - (n - z) * step;
    error += importance.empty() ? e * e : importance[k] * e * e;
    nibbles[k] = static_cast<std::uint8_t>(n);
  }
  return error;
}

inline float largest_magnitude(std::span<const float> w) noexcept {
  float top = 0;
  for (const float v : w) top = std::max(top, std::fabs(v));
  return top;
}

inline void quantize_int8(std::span<const float> w, QuantizedRow& row) {
  const float top = largest_magnitude(w);
  row.scale = top / 127;
  const float inverse = top > 0 ? 127 / top : 0;
  for (std::size_t k = 0; k < w.size(); ++k)
    row.values[k] = static_cast<std::uint8_t>(static_cast<int>(rounded(w[k] * inverse)) + 128);
}

inline void quantize_fp8(std::span<const float> w, QuantizedRow& row) {
  const float top = largest_magnitude(w);
  row.scale = top / kLargestE4m3;
  const float inverse = top > 0 ? kLargestE4m3 / top : 0;
  for (std::size_t k = 0; k < w.size(); ++k) row.values[k] = float_to_e4m3(w[k] * inverse);
}

inline void quantize_int4(std::span<const float> w, const Quantization& q,
                          std::span<const float> importance, QuantizedRow& row) {
  const auto size = static_cast<std::size_t>(q.group);
  const std::size_t groups = (w.size() + size - 1) / size;
  row.multipliers.assign(groups, 1);
  row.zeros.assign(groups, kMiddle);
  std::vector<float> steps(groups);
  const auto part_of = [&](std::span<const float> all, std::size_t g) {
    return all.empty() ? all : all.subspan(g * size, std::min(size, all.size() - g * size));
  };
  const auto part = [&](std::size_t g) { return part_of(w, g); };
  const auto reach = [&](std::size_t g) {  // the largest |nibble - zero|
    return std::max<int>(row.zeros[g], 15 - row.zeros[g]);
  };
  float top = 0;
  for (std::size_t g = 0; g < groups; ++g) {
    float low = 0, high = 0;
    for (const float v : part(g)) low = std::min(low, v), high = std::max(high, v);
    if (q.zero_points) {
      steps[g] = (high - low) / 15;
      if (steps[g] > 0) row.zeros[g] = static_cast<std::uint8_t>(rounded(-low / steps[g]));
    } else {
      steps[g] = std::max(-low / 8, high / 7);
    }
    top = std::max(top, steps[g] * static_cast<float>(reach(g)));
  }
  row.scale = top / 127;
  std::vector<std::uint8_t> tried(size);
  for (std::size_t g = 0; g < groups; ++g) {
    if (steps[g] == 0) {
      std::fill_n(row.values.begin() + static_cast<Index>(g * size), part(g).size(), row.zeros[g]);
      continue;
    }
    // Multipliers about the ideal one and a little below, where clipping the largest value may pay.
    // Where some values count more than others, down to half of it.
    const float ideal = steps[g] / row.scale;
    const int most = 127 / reach(g);
    float least_error = HUGE_VALF;
    int last = 0;
    const auto attempt = [&](float wish) {
      const int m = std::clamp(static_cast<int>(wish), 1, most);
      if (m == last) return;
      last = m;
      const float error =
          round_group(part(g), part_of(importance, g), static_cast<float>(m) * row.scale,
                      row.zeros[g], tried.data());
      if (error >= least_error) return;
      least_error = error;
      row.multipliers[g] = static_cast<std::uint8_t>(m);
      std::copy_n(tried.begin(), part(g).size(), row.values.begin() + static_cast<Index>(g * size));
    };
    attempt(std::ceil(ideal));
    attempt(std::floor(ideal));
    if (importance.empty())
      attempt(std::floor(0.87f * ideal));
    else
      for (float m = std::floor(ideal) - 1; 2 * m >= ideal; --m) attempt(m);
  }
}

/// Groups of a row of so many inputs; only int4 has any.
inline std::size_t groups_of(const Quantization& q, Index cols) noexcept {
  return q.format == WeightFormat::int4 ? static_cast<std::size_t>((cols + q.group - 1) / q.group)
                                        : 0;
}

}  // namespace detail

/// Rounds one row of a matrix to int8, int4 or fp8. `importance` (K), 0 or more each, is what a
/// squared error costs in each input channel, which int4 can take into account; empty: the same
/// everywhere. Throws ArgumentError if a value is not finite.
inline QuantizedRow quantize(std::span<const float> w, const Quantization& q,
                             std::span<const float> importance = {}) {
  for (const float v : w)
    if (!std::isfinite(v)) throw ArgumentError("a weight that is not finite cannot be quantised");
  QuantizedRow row;
  row.values.resize(w.size());
  switch (q.format) {
    case WeightFormat::plain: break;
    case WeightFormat::int8: detail::quantize_int8(w, row); break;
    case WeightFormat::int4: detail::quantize_int4(w, q, importance, row); break;
    case WeightFormat::fp8: detail::quantize_fp8(w, row); break;
  }
  return row;
}

// ---- rows in a file
//
// f32 scale | multipliers | zeros, where the format has zero points | values: in int8 and fp8 a
// byte each, in int4 two to a byte, the even one low. Little-endian, as safetensors.

/// Bytes of such a row.
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
  put(&row.scale, 4);
  put(row.multipliers.data(), row.multipliers.size());
  if (q.format == WeightFormat::int4 && q.zero_points) put(row.zeros.data(), row.zeros.size());
  if (q.format != WeightFormat::int4) return put(row.values.data(), row.values.size());
  for (std::size_t k = 0; k < row.values.size(); k += 2) {
    const unsigned high = k + 1 < row.values.size() ? row.values[k + 1] : 0u;
    *out++ = static_cast<std::byte>(row.values[k] | (high << 4));
  }
}

/// Reads what store_row wrote. `with_values` false leaves the values out. Throws ArgumentError for
/// factors that no row of 8-bit integers has.
inline QuantizedRow load_row(const std::byte* in, Index cols, const Quantization& q,
                             bool with_values = true) {
  QuantizedRow row;
  const auto get = [&in](std::vector<std::uint8_t>& to, std::size_t size) {
    to.resize(size);
    if (size > 0) std::memcpy(to.data(), in, size);
    in += size;
  };
  std::memcpy(&row.scale, in, 4);
  in += 4;
  if (!std::isfinite(row.scale) || row.scale < 0) throw ArgumentError("a scale below zero");
  const std::size_t groups = detail::groups_of(q, cols);
  get(row.multipliers, groups);
  row.zeros.assign(groups, kMiddle);
  if (q.zero_points) get(row.zeros, groups);
  for (std::size_t g = 0; g < groups; ++g) {
    const int reach = std::max<int>(row.zeros[g], 15 - row.zeros[g]);
    if (row.zeros[g] > 15 || row.multipliers[g] * reach > 127)
      throw ArgumentError("a group that does not fit 8 bits");
  }
  if (!with_values) return row;
  const auto size = static_cast<std::size_t>(cols);
  if (q.format != WeightFormat::int4) {
    get(row.values, size);
    if (q.format == WeightFormat::fp8 && !std::ranges::all_of(row.values, is_number_e4m3))
      throw ArgumentError("a code of fp8 that is no number");
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
