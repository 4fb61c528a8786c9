// How a checkpoint's config.json records the formats of its quantized matrices.
#pragma once

#include <nlohmann/json.hpp>

#include "pllava/core/quantization.hpp"

namespace pllava::detail {

/// The key of config.json that holds the formats.
inline constexpr const char* kFormatsKey = "pllava_weights";

inline nlohmann::json to_json(const Quantization& q) {
  nlohmann::json json;
  json["format"] = name_of(q.format);
  if (q.format == WeightFormat::int4) {
    json["group"] = q.group;
    json["zero_points"] = q.zero_points;
  }
  return json;
}

}  // namespace pllava::detail
