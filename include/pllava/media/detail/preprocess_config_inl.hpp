// Definition of PreprocessConfig::from_directory.
#pragma once

#include <array>
#include <cmath>
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>

#include <nlohmann/json.hpp>

#include "pllava/io/detail/json_file.hpp"
#include "pllava/io/detail/json_reader.hpp"
#include "pllava/media/preprocess.hpp"

namespace pllava {
namespace detail {

/// A square size: a number, or the member `member` of an object.
PLLAVA_INLINE Index read_side(const JsonReader& json, const char* key, const char* member,
                              Index fallback) {
  const nlohmann::json* value = json.find(key);
  if (value == nullptr) return fallback;
  const nlohmann::json* number = value;
  if (value->is_object()) number = value->contains(member) ? &(*value)[member] : nullptr;
  json.require(key,
               number != nullptr && number->is_number_integer() && number->get<double>() >= 1 &&
                   number->get<double>() <= 4096,
               std::string("a number, or an object with \"") + member + "\", from 1 to 4096");
  return number->get<Index>();
}

/// One number for each of R, G and B; `values` keeps its contents if the key is absent.
PLLAVA_INLINE void read_channels(const JsonReader& json, const char* key, bool positive,
                                 std::array<float, 3>& values) {
  const nlohmann::json* list = json.find(key);
  if (list == nullptr) return;
  const std::string expected = positive ? "three positive numbers" : "three numbers";
  json.require(key, list->is_array() && list->size() == values.size(), expected);
  for (std::size_t c = 0; c < values.size(); ++c) {
    const nlohmann::json& number = (*list)[c];
    json.require(key, number.is_number() && std::abs(number.get<double>()) < 1e6, expected);
    values[c] = static_cast<float>(number.get<double>());
    json.require(key, !positive || values[c] >= 1e-6f, expected);
  }
}

/// The file that holds the constants, and the member that is their object, or nullptr for the whole
/// file. As in transformers, processor_config.json comes first, if it has an image_processor.
struct PreprocessFile {
  std::filesystem::path path;  // empty if there is none
  JsonDocument document;
  const char* member = nullptr;
};

PLLAVA_INLINE PreprocessFile find_preprocess_file(const std::filesystem::path& directory) {
  constexpr const char* kMember = "image_processor";
  std::error_code error;
  if (std::filesystem::path path = directory / "processor_config.json";
      std::filesystem::exists(path, error)) {
    JsonDocument document = read_json_object(path);
    if (JsonReader(document.root, path.string()).find(kMember) != nullptr)
      return {std::move(path), std::move(document), kMember};
  }
  if (std::filesystem::path path = directory / "preprocessor_config.json";
      std::filesystem::exists(path, error)) {
    JsonDocument document = read_json_object(path);
    return {std::move(path), std::move(document), nullptr};
  }
  return {};
}

}  // namespace detail

PLLAVA_INLINE bool PreprocessConfig::is_stored_in(const std::filesystem::path& directory) {
  return !detail::find_preprocess_file(directory).path.empty();
}

PLLAVA_INLINE PreprocessConfig
PreprocessConfig::from_directory(const std::filesystem::path& directory) {
  PreprocessConfig config;
  const detail::PreprocessFile file = detail::find_preprocess_file(directory);
  if (file.path.empty()) return config;
  const detail::JsonReader whole(file.document.root, file.path.string());
  const detail::JsonReader json = file.member == nullptr ? whole : whole.object(file.member);

  config.image_size = detail::read_side(json, "size", "shortest_edge", config.image_size);
  for (const char* member : {"height", "width"})
    json.require(
        "crop_size",
        detail::read_side(json, "crop_size", member, config.image_size) == config.image_size,
        "the size, " + std::to_string(config.image_size));
  const nlohmann::json* filter = json.find("resample");
  json.require("resample", filter == nullptr || (filter->is_number() && filter->get<double>() == 3),
               "3 (bicubic)");
  for (const char* step : {"do_resize", "do_center_crop", "do_rescale", "do_normalize"}) {
    const nlohmann::json* enabled = json.find(step);
    json.require(step, enabled == nullptr || (enabled->is_boolean() && enabled->get<bool>()),
                 "true");
  }
  if (const nlohmann::json* factor = json.find("rescale_factor"); factor != nullptr) {
    const double value = factor->is_number() ? factor->get<double>() : 0.0;
    json.require("rescale_factor", value > 0.0 && value <= 1.0, "a number above 0, at most 1");
    config.rescale_factor = value;
  }
  detail::read_channels(json, "image_mean", false, config.image_mean);
  detail::read_channels(json, "image_std", true, config.image_std);
  return config;
}

}  // namespace pllava
