// Llava::read_config: Hugging Face's config.json, checked.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "pllava/error.hpp"
#include "pllava/io/detail/json_file.hpp"
#include "pllava/io/detail/json_reader.hpp"
#include "pllava/models/architecture.hpp"
#include "pllava/models/detail/llava_template_key.hpp"
#include "pllava/models/detail/special_tokens.hpp"
#include "pllava/models/detail/text_config.hpp"

namespace pllava {
namespace detail {

/// Missing keys take the defaults of CLIPVisionConfig (a small ViT-B/32), as files omit defaults.
inline VisionConfig read_vision(const JsonReader& json, Index feature_layer) {
  const std::string type = json.text("model_type", "clip_vision_model");
  json.require("model_type", type == "clip_vision_model", "\"clip_vision_model\"");
  json.require("num_channels", json.size("num_channels", 3) == 3, "3");
  VisionConfig v;
  v.image_size = json.integer("image_size", 224, 1, 1 << 14);
  v.patch_size = json.integer("patch_size", 32, 1, 1 << 14);
  v.width = json.size("hidden_size", 768);
  v.ffn = json.size("intermediate_size", 3072);
  v.layers = json.integer("num_hidden_layers", 12, 1, kMaxLayers);
  v.heads = json.size("num_attention_heads", 12);
  v.norm_eps = static_cast<float>(json.number("layer_norm_eps", 1e-5));
  v.activation = detail::read_activation(json, "hidden_act", "quick_gelu");
  v.feature_layer = feature_layer;
  json.require("patch_size", v.image_size % v.patch_size == 0, "a divisor of image_size");
  json.require("num_attention_heads", v.width % v.heads == 0, "a divisor of hidden_size");
  return v;
}

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

/// vision_feature_layer: a number, or a list of one.
inline Index read_feature_layer(const JsonReader& json) {
  const char* const key = "vision_feature_layer";
  const Index low = -kMaxLayers - 1;
  const nlohmann::json* value = json.find(key);
  if (value == nullptr || !value->is_array()) return json.integer(key, -2, low, kMaxLayers);
  json.require(key, value->size() == 1, "one layer; features of several are not concatenated");
  return json.integers(key, 1, low, kMaxLayers).front();
}

/// Whether the file is of a model that PLLaVA trained; "llava" is its model_type too.
inline bool is_pllava(const JsonReader& json) {
  if (json.text("model_type", "") == "pllava" || json.find("pooling_shape") != nullptr) return true;
  const nlohmann::json* list = json.find("architectures");
  return list != nullptr && *list == nlohmann::json{"PllavaForConditionalGeneration"};
}

}  // namespace detail

PLLAVA_INLINE ModelConfig Llava::read_config(const std::filesystem::path& directory) {
  const std::filesystem::path path = directory / "config.json";
  const detail::JsonDocument config = detail::read_json_object(path);
  const detail::JsonReader json(config.root, path.string());

  if (const auto* list = json.find("architectures")) {
    bool known = false;
    for (const char* name :
         {"PllavaForConditionalGeneration", "LlavaForConditionalGeneration",
          "LlavaNextForConditionalGeneration", "LlavaNextVideoForConditionalGeneration"})
      for (const auto& item : *list)
        known = known || (item.is_string() && item.get_ref<const std::string&>() == name);
    json.require("architectures", known, "a LLaVA or PLLaVA model");
  }
  const std::string strategy = json.text("vision_feature_select_strategy", "default");
  json.require("vision_feature_select_strategy", strategy == "default", "\"default\"");
  json.require("multimodal_projector_bias", json.boolean("multimodal_projector_bias", true),
               "true");

  ModelConfig m;
  const Index feature_layer = detail::read_feature_layer(json);
  m.vision = detail::read_vision(json.object("vision_config"), feature_layer);
  const Index used = m.vision.used_layers();
  json.require("vision_feature_layer", used >= 0 && used <= m.vision.layers,
               "one of the " + std::to_string(m.vision.layers + 1) + " hidden states");
  const detail::JsonReader text = json.object("text_config");
  m.text = detail::read_text(text);
  m.projector = {m.vision.width, m.text.width,
                 detail::read_activation(json, "projector_hidden_act", "gelu")};

  const Index side = m.vision.grid_side();
  const auto frame_shape = json.integers("frame_shape", 2, 1, 1 << 14);
  json.require("frame_shape", frame_shape.empty() || frame_shape == std::vector{side, side},
               "the vision tower's " + std::to_string(side) + " x " + std::to_string(side));
  m.frames = json.integer("num_frames", m.frames, 1, 1 << 14);
  const auto pooling = json.integers("pooling_shape", 3, 1, 1 << 14);
  if (!pooling.empty()) m.pool.output = {pooling[0], pooling[1], pooling[2]};
  if (json.text("model_type", "") == "llava_next_video") detail::read_next_video(json, side, m);
  m.image_token = json.integer("image_token_index",
                               json.integer("image_token_id", m.image_token, 0, detail::kMaxToken),
                               0, detail::kMaxToken);

  if (!detail::is_pllava(json))
    m.conversation_template = detail::llava_template_key(
        json.text("model_type", ""), text.text("model_type", "llama"), m.text.vocab);

  detail::read_special_tokens(m, directory, {&text, &json});
  return m;
}

}  // namespace pllava
