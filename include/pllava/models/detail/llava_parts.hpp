// Reads what the configurations of all LLaVA families have in common.
#pragma once

#include <algorithm>
#include <initializer_list>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "pllava/io/detail/json_reader.hpp"
#include "pllava/models/detail/text_config.hpp"
#include "pllava/models/model_config.hpp"

namespace pllava::detail {

/// Whether "architectures" names one of these classes.
inline bool has_architecture(const JsonReader& json,
                             std::initializer_list<std::string_view> names) {
  const nlohmann::json* list = json.find("architectures");
  if (list == nullptr) return false;
  return std::any_of(list->begin(), list->end(), [&](const nlohmann::json& item) {
    return item.is_string() &&
           std::find(names.begin(), names.end(), item.get_ref<const std::string&>()) != names.end();
  });
}

/// Reads the projector from the width of the vision tower to that of the decoder.
inline ProjectorConfig read_projector(const JsonReader& json, const ModelConfig& m) {
  json.require("multimodal_projector_bias", json.boolean("multimodal_projector_bias", true),
               "true");
  return {m.vision.width, m.text.width, read_activation(json, "projector_hidden_act", "gelu")};
}

inline Index read_image_token(const JsonReader& json, Index fallback) {
  return json.integer("image_token_index", json.integer("image_token_id", fallback, 0, kMaxToken),
                      0, kMaxToken);
}

}  // namespace pllava::detail
