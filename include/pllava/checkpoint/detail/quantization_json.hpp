// How a checkpoint's config.json records the formats of its quantized matrices.
#pragma once

#include <nlohmann/json.hpp>

#include "pllava/core/quantization.hpp"

namespace pllava::detail {

/// The key of config.json that holds the formats.
inline constexpr const char* kFormatsKey = "pllava_weights";

/// The value of "rotation", see core/rotation.hpp. Rows without a rotation are not read.
inline constexpr const char* kRotation = "hadamard";

/// Writes the members of a format into `json`.
inline void write_format(nlohmann::json& json, const Quantization& q) {
  json["format"] = name_of(q.format);
  if (is_rotated(q)) json["rotation"] = kRotation;
  if (q.format == WeightFormat::int4) {
    json["group"] = q.group;
    json["zero_points"] = q.zero_points;
  }
}

}  // namespace pllava::detail
