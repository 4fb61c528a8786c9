// Llava::read_config: Hugging Face's config.json, checked.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "pllava/error.hpp"
#include "pllava/io/detail/json_file.hpp"
#include "pllava/io/detail/json_reader.hpp"
#include "pllava/models/architecture.hpp"
#include "pllava/models/detail/llava_parts.hpp"
#include "pllava/models/detail/llava_template_key.hpp"
#include "pllava/models/detail/special_tokens.hpp"
#include "pllava/models/detail/text_config.hpp"
#include "pllava/models/detail/vision_config.hpp"

namespace pllava {
namespace detail {

/// The pooling of LLaVA-NeXT-Video: each frame by itself, before the projector.
inline void read_next_video(const JsonReader& json, Index side, ModelConfig& m) {
  const std::string mode = json.text("spatial_pool_mode", "average");
  json.require("spatial_pool_mode", mode == "average" || mode == "max", "\"average\" or \"max\"");
  const Index stride = json.integer("spatial_pool_stride", 2, 1, side);
  json.require("spatial_pool_stride", side % stride == 0,
               "a divisor of the vision tower's " + std::to_string(side));
  m.pool = {.output = {m.frames, side / stride, side / stride},
            .kind = mode == "max" ? PoolKind::maximum : PoolKind::average,
            .keeps_frames = true};
  m.projector.pools_first = true;
}

/// Whether the file is of a model that PLLaVA trained; "llava" is its model_type too.
inline bool is_pllava(const JsonReader& json) {
  if (json.text("model_type", "") == "pllava" || json.find("pooling_shape") != nullptr) return true;
  return has_architecture(json, {"PllavaForConditionalGeneration"});
}

}  // namespace detail

PLLAVA_INLINE ModelConfig Llava::read_config(const std::filesystem::path& directory) {
  const std::filesystem::path path = directory / "config.json";
  const detail::JsonDocument config = detail::read_json_object(path);
  const detail::JsonReader json(config.root, path.string());

  json.require("architectures",
               json.find("architectures") == nullptr ||
                   detail::has_architecture(
                       json, {"PllavaForConditionalGeneration", "LlavaForConditionalGeneration",
                              "LlavaNextForConditionalGeneration",
                              "LlavaNextVideoForConditionalGeneration"}),
               "a LLaVA or PLLaVA model");
  const std::string strategy = json.text("vision_feature_select_strategy", "default");
  json.require("vision_feature_select_strategy", strategy == "default", "\"default\"");

  ModelConfig m;
  m.vision = detail::read_vision(json, detail::kClip, -2);
  const detail::JsonReader text = json.object("text_config");
  m.text = detail::read_text(text);
  m.projector = detail::read_projector(json, m);

  const Index side = m.vision.grid_side();
  const auto frame_shape = json.integers("frame_shape", 2, 1, 1 << 14);
  json.require("frame_shape", frame_shape.empty() || frame_shape == std::vector{side, side},
               "the vision tower's " + std::to_string(side) + " x " + std::to_string(side));
  m.frames = json.integer("num_frames", m.frames, 1, 1 << 14);
  const auto pooling = json.integers("pooling_shape", 3, 1, 1 << 14);
  if (!pooling.empty()) m.pool.output = {pooling[0], pooling[1], pooling[2]};
  const std::string type = json.text("model_type", "");
  if (type == "llava_next_video") detail::read_next_video(json, side, m);
  if (type == "llava_next")
    m.notes.push_back(
        "of the tiles of a picture only the base image is encoded, so image_grid_pinpoints and "
        "image_newline are unused");
  m.image_token = detail::read_image_token(json, m.image_token);
  if (!detail::is_pllava(json))
    m.conversation_template =
        detail::llava_template_key(type, text.text("model_type", "llama"), m.text.vocab);

  detail::read_special_tokens(m, directory, {&text, &json});
  return m;
}

}  // namespace pllava
