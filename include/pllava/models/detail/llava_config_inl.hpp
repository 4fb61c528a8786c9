// Llava::read_config: Hugging Face's config.json, checked.
#pragma once

#include <cmath>
#include <limits>
#include <optional>
#include <string>

#include <nlohmann/json.hpp>

#include "pllava/error.hpp"
#include "pllava/io/detail/json_file.hpp"
#include "pllava/io/detail/json_reader.hpp"
#include "pllava/models/architecture.hpp"

namespace pllava {
namespace detail {

/// The activation that member `key` names.
inline Activation read_activation(const JsonReader& json, const char* key, const char* fallback) {
  const std::string name = json.text(key, fallback);
  if (name == "quick_gelu") return Activation::quick_gelu;
  if (name == "gelu") return Activation::gelu;
  if (name == "silu" || name == "swish") return Activation::silu;
  throw json.error(key, "quick_gelu, gelu or silu", json.find(key));
}

constexpr Index kMaxContext = 1 << 20;  // its rotary table takes 512 MiB at head_dim 128
constexpr Index kMaxToken = std::numeric_limits<std::int32_t>::max();
constexpr Index kMaxLayers = 1024;

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

/// Missing keys take the defaults of LlamaConfig.
inline TextConfig read_text(const JsonReader& json) {
  const std::string type = json.text("model_type", "llama");
  json.require("model_type", type == "llama", "\"llama\"");
  json.require("attention_bias", !json.boolean("attention_bias", false), "false");
  json.require("mlp_bias", !json.boolean("mlp_bias", false), "false");
  TextConfig t;
  t.vocab = json.size("vocab_size", 32000);
  t.width = json.size("hidden_size", 4096);
  t.ffn = json.size("intermediate_size", 11008);
  t.layers = json.integer("num_hidden_layers", 32, 1, kMaxLayers);
  t.heads = json.size("num_attention_heads", 32);
  t.kv_heads = json.size("num_key_value_heads", t.heads);
  t.head_dim = json.size("head_dim", t.width / t.heads);
  t.context = json.integer("max_position_embeddings", 2048, 1, kMaxContext);
  t.norm_eps = static_cast<float>(json.number("rms_norm_eps", 1e-6));
  t.rope_theta = json.number("rope_theta", 10000.0);
  t.activation = detail::read_activation(json, "hidden_act", "silu");
  t.tied_embeddings = json.boolean("tie_word_embeddings", false);
  for (const char* key : {"rope_scaling", "rope_parameters"}) {  // older and newer files
    if (json.find(key) == nullptr) continue;
    const JsonReader rope = json.object(key);
    const std::string kind = rope.text("rope_type", rope.text("type", "default").c_str());
    json.require(key, kind == "default", "no scaling of rotary positions");
    t.rope_theta = rope.number("rope_theta", t.rope_theta);
  }
  if (json.find("head_dim") == nullptr)
    json.require("num_attention_heads", t.width % t.heads == 0, "a divisor of hidden_size");
  json.require("num_key_value_heads", t.heads % t.kv_heads == 0,
               "a divisor of num_attention_heads");
  json.require("head_dim", t.head_dim % 2 == 0 && t.head_dim >= 2, "an even number");
  return t;
}

/// The first of these objects that has the token id wins; a negative id means "none".
inline Index read_token(std::initializer_list<const JsonReader*> places, const char* key,
                        Index fallback) {
  for (const JsonReader* place : places) {
    const Index id = place == nullptr ? -1 : place->integer(key, -1, -1, kMaxToken);
    if (id >= 0) return id;
  }
  return fallback;
}

}  // namespace detail

PLLAVA_INLINE ModelConfig Llava::read_config(const std::filesystem::path& directory) {
  const std::filesystem::path path = directory / "config.json";
  const detail::JsonDocument config = detail::read_json_object(path);
  const detail::JsonReader json(config.root, path.string());

  if (const auto* list = json.find("architectures")) {
    bool known = false;
    for (const char* name : {"PllavaForConditionalGeneration", "LlavaForConditionalGeneration",
                             "LlavaNextForConditionalGeneration"})
      for (const auto& item : *list)
        known = known || (item.is_string() && item.get_ref<const std::string&>() == name);
    json.require("architectures", known, "a LLaVA or PLLaVA model");
  }
  const std::string strategy = json.text("vision_feature_select_strategy", "default");
  json.require("vision_feature_select_strategy", strategy == "default", "\"default\"");
  json.require("multimodal_projector_bias", json.boolean("multimodal_projector_bias", true),
               "true");

  ModelConfig m;
  const Index feature_layer =
      json.integer("vision_feature_layer", -2, -detail::kMaxLayers - 1, detail::kMaxLayers);
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
  const auto pooling = json.integers("pooling_shape", 3, 1, 1 << 14);
  if (!pooling.empty()) m.pool.output = {pooling[0], pooling[1], pooling[2]};
  m.frames = json.integer("num_frames", m.frames, 1, 1 << 14);
  m.image_token = json.integer("image_token_index",
                               json.integer("image_token_id", m.image_token, 0, detail::kMaxToken),
                               0, detail::kMaxToken);

  std::optional<detail::JsonReader> generation;
  detail::JsonDocument generation_json;
  const std::filesystem::path generation_path = directory / "generation_config.json";
  std::error_code ignored;
  if (std::filesystem::exists(generation_path, ignored)) {
    generation_json = detail::read_json_object(generation_path);
    generation.emplace(generation_json.root, generation_path.string());
  }
  const std::initializer_list<const detail::JsonReader*> places = {
      generation ? &*generation : nullptr, &text, &json};
  m.pad_token = detail::read_token(places, "pad_token_id", m.pad_token);
  m.bos_token = detail::read_token(places, "bos_token_id", m.bos_token);
  for (const detail::JsonReader* place : places) {
    const auto* eos = place == nullptr ? nullptr : place->find("eos_token_id");
    if (eos == nullptr) continue;
    m.eos_tokens = eos->is_array()
                       ? place->integers("eos_token_id", 0, 0, detail::kMaxToken)
                       : std::vector{place->integer("eos_token_id", 0, 0, detail::kMaxToken)};
    break;
  }
  return m;
}

}  // namespace pllava
