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
/// file.
struct PreprocessFile {
  std::filesystem::path path;  // empty if there is none
  JsonDocument document;
  const char* member = nullptr;
};

/// The file that transformers reads for a video. processor_config.json holds the constants since
/// its version 5; before, it held others.
PLLAVA_INLINE PreprocessFile find_preprocess_file(const std::filesystem::path& directory) {
  constexpr struct {
    const char *file, *member;
  } kPlaces[] = {{"processor_config.json", "video_processor"},
                 {"video_preprocessor_config.json", nullptr},
                 {"processor_config.json", "image_processor"},
                 {"preprocessor_config.json", nullptr}};
  std::error_code error;
  for (const auto& [file, member] : kPlaces) {
    std::filesystem::path path = directory / file;
    if (!std::filesystem::exists(path, error)) continue;
    JsonDocument document = read_json_object(path);
    if (member == nullptr || JsonReader(document.root, path.string()).find(member) != nullptr)
      return {std::move(path), std::move(document), member};
  }
  return {};
}

/// Whether "size" is of the form {"height": S, "width": S}, to which whole frames are scaled.
PLLAVA_INLINE bool is_stretched(const JsonReader& json) {
  const nlohmann::json* size = json.find("size");
  return size != nullptr && size->is_object() && !size->contains("shortest_edge") &&
         size->contains("height") && size->contains("width");
}

PLLAVA_INLINE bool is_on(const JsonReader& json, const char* step, bool fallback) {
  const nlohmann::json* enabled = json.find(step);
  if (enabled == nullptr) return fallback;
  return enabled->is_boolean() && enabled->get<bool>();
}

PLLAVA_INLINE void read_size(const JsonReader& json, PreprocessConfig& config) {
  const bool stretched = is_stretched(json);
  if (stretched) {
    config.fit = FrameFit::stretch;
    config.image_size = read_side(json, "size", "height", config.image_size);
    json.require("size", read_side(json, "size", "width", config.image_size) == config.image_size,
                 "a square");
  } else {
    config.image_size = read_side(json, "size", "shortest_edge", config.image_size);
    json.require("do_center_crop", is_on(json, "do_center_crop", true), "true");
  }
  if (stretched && !is_on(json, "do_center_crop", false)) return;
  for (const char* member : {"height", "width"})
    json.require("crop_size",
                 read_side(json, "crop_size", member, config.image_size) == config.image_size,
                 "the size, " + std::to_string(config.image_size));
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

  detail::read_size(json, config);
  const nlohmann::json* filter = json.find("resample");
  json.require("resample", filter == nullptr || (filter->is_number() && filter->get<double>() == 3),
               "3 (bicubic)");
  for (const char* step : {"do_resize", "do_rescale", "do_normalize"})
    json.require(step, detail::is_on(json, step, true), "true");
  // LlavaImageProcessor pads pictures to squares; those of other families pad only batches.
  json.require("do_pad",
               !json.text("image_processor_type", "").starts_with("LlavaImageProcessor") ||
                   !detail::is_on(json, "do_pad", false),
               "false");
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
