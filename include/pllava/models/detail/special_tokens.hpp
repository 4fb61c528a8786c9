// Reads the ids of special tokens from generation_config.json and config.json.
#pragma once

#include <filesystem>
#include <initializer_list>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

#include "pllava/io/detail/json_file.hpp"
#include "pllava/io/detail/json_reader.hpp"
#include "pllava/models/detail/text_config.hpp"
#include "pllava/models/model_config.hpp"

namespace pllava::detail {

/// The first of these objects that has the token id wins; a negative id means "none".
inline Index read_token(const std::vector<const JsonReader*>& places, const char* key,
                        Index fallback) {
  for (const JsonReader* place : places) {
    const Index id = place->integer(key, -1, -1, kMaxToken);
    if (id >= 0) return id;
  }
  return fallback;
}

/// The ids of generation_config.json, if the directory has one, before those of `configs`.
inline void read_special_tokens(ModelConfig& m, const std::filesystem::path& directory,
                                std::initializer_list<const JsonReader*> configs) {
  std::vector<const JsonReader*> places(configs);
  JsonDocument document;
  std::optional<JsonReader> generation;
  const std::filesystem::path path = directory / "generation_config.json";
  if (std::error_code ignored; std::filesystem::exists(path, ignored)) {
    document = read_json_object(path);
    generation.emplace(document.root, path.string());
    places.insert(places.begin(), &*generation);
  }
  m.pad_token = read_token(places, "pad_token_id", m.pad_token);
  m.bos_token = read_token(places, "bos_token_id", m.bos_token);
  for (const JsonReader* place : places) {
    const auto* eos = place->find("eos_token_id");
    if (eos == nullptr) continue;
    m.eos_tokens = eos->is_array() ? place->integers("eos_token_id", 0, 0, kMaxToken)
                                   : std::vector{place->integer("eos_token_id", 0, 0, kMaxToken)};
    return;
  }
}

}  // namespace pllava::detail
