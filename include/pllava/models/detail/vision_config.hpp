// Reads the vision tower's part of config.json, checked.
#pragma once

#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "pllava/io/detail/json_reader.hpp"
#include "pllava/models/detail/text_config.hpp"
#include "pllava/models/model_config.hpp"

namespace pllava::detail {

/// What differs between the vision towers: the defaults of their configuration classes in
/// transformers, and what they always have.
struct VisionKind {
  std::string_view model_type;
  Index patch_size;
  double norm_eps;
  const char* activation;
  bool class_token, pre_norm, patch_bias;
};
inline constexpr VisionKind kClip = {
    "clip_vision_model", 32, 1e-5, "quick_gelu", true, true, false};
inline constexpr VisionKind kSiglip = {
    "siglip_vision_model", 16, 1e-6, "gelu_pytorch_tanh", false, false, true};

/// vision_feature_layer: a number, or a list of one.
inline Index read_feature_layer(const JsonReader& json, Index fallback) {
  const char* const key = "vision_feature_layer";
  const Index low = -kMaxLayers - 1;
  const nlohmann::json* value = json.find(key);
  if (value == nullptr || !value->is_array()) return json.integer(key, fallback, low, kMaxLayers);
  json.require(key, value->size() == 1, "one layer; features of several are not concatenated");
  return json.integers(key, 1, low, kMaxLayers).front();
}

/// The vision tower of a whole model's config.json, which must be of this kind. Missing keys take
/// the defaults of its class, as files omit defaults.
inline VisionConfig read_vision(const JsonReader& model, const VisionKind& kind,
                                Index feature_layer) {
  const JsonReader json = model.object("vision_config");
  const std::string name(kind.model_type);
  json.require("model_type", json.text("model_type", name.c_str()) == name, '"' + name + '"');
  json.require("num_channels", json.size("num_channels", 3) == 3, "3");
  VisionConfig v;
  v.image_size = json.integer("image_size", 224, 1, 1 << 14);
  v.patch_size = json.integer("patch_size", kind.patch_size, 1, 1 << 14);
  v.width = json.size("hidden_size", 768);
  v.ffn = json.size("intermediate_size", 3072);
  v.layers = json.integer("num_hidden_layers", 12, 1, kMaxLayers);
  v.heads = json.size("num_attention_heads", 12);
  v.norm_eps = static_cast<float>(json.number("layer_norm_eps", kind.norm_eps));
  v.activation = read_activation(json, "hidden_act", kind.activation);
  v.class_token = kind.class_token;
  v.pre_norm = kind.pre_norm;
  v.patch_bias = kind.patch_bias;
  json.require("patch_size", v.patch_size <= v.image_size, "at most image_size");
  json.require("num_attention_heads", v.width % v.heads == 0, "a divisor of hidden_size");
  v.feature_layer = read_feature_layer(model, feature_layer);
  const Index used = v.used_layers();
  model.require("vision_feature_layer", used >= 0 && used <= v.layers,
                "one of the " + std::to_string(v.layers + 1) + " hidden states");
  return v;
}

}  // namespace pllava::detail
