// How a checkpoint's config.json records the formats of its quantized matrices.
#pragma once

#include <nlohmann/json.hpp>

#include "pllava/core/quantization.hpp"

namespace pllava::detail {

/// The key of config.json that holds the formats.
inline constexpr const char* kFormatsKey = "pllava_weights";

/// Writes the members of a format into `json`.
inline void write_format(nlohmann::json& json, const Quantization& q) {
  json["format"] = name_of(q.format);
  if (q.format == WeightFormat::int4) {
    json["group"] = q.group;
    json["zero_points"] = q.zero_points;
  }
}

}  // namespace pllava::detail
