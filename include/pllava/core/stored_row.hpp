// The layout of a quantized row in a file:
//
//     channel scale f32 | group scales | zero points, if the format has them | values
//
// Values are one byte each in int8 and fp8, and two per byte in int4, the even one in the low half.
// Little-endian, like safetensors.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "pllava/config.hpp"
#include "pllava/core/float8.hpp"
#include "pllava/core/quantization.hpp"
#include "pllava/core/quantized_row.hpp"
#include "pllava/error.hpp"

namespace pllava {

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

/// Reads a row written by store_row, without the values if `with_values` is false. Throws
/// ArgumentError for invalid scales, zero points or fp8 codes.
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
    if (row.zero_points[g] > 15 ||
        row.group_scales[g] * detail::max_difference(row.zero_points[g]) > 127)
      throw ArgumentError("a group scale or zero point exceeds the 8-bit range");
  }
  if (!with_values) return row;
  const auto size = static_cast<std::size_t>(cols);
  if (q.format != WeightFormat::int4) {
    get(row.values, size);
    if (q.format == WeightFormat::fp8 &&
        !std::all_of(row.values.begin(), row.values.end(), is_finite_e4m3))
      throw ArgumentError("an fp8 value is NaN");
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
