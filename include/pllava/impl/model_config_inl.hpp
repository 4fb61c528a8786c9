// Bodies of model_config.hpp: Hugging Face's config.json, checked; and the named sizes.
#pragma once

#include <cmath>
#include <limits>
#include <optional>
#include <string>

#include <nlohmann/json.hpp>

#include "pllava/error.hpp"
#include "pllava/impl/safetensors_inl.hpp"
#include "pllava/model_config.hpp"

namespace pllava {
namespace detail {

/// Reads typed members of one JSON object and names the offender in every error. A null counts as
/// absent, as in the reference's configuration classes.
class ConfigReader {
 public:
  ConfigReader(const nlohmann::json& object, std::string file, std::string prefix = {})
      : object_(&object), file_(std::move(file)), prefix_(std::move(prefix)) {}

  const nlohmann::json* find(const char* key) const {
    const auto found = object_->find(key);
    return found == object_->end() || found->is_null() ? nullptr : &*found;
  }

  ConfigReader object(const char* key) const {
    const nlohmann::json* value = find(key);
    if (value == nullptr || !value->is_object()) throw error(key, "an object", value);
    return {*value, file_, prefix_ + key + "."};
  }

  Index integer(const char* key, Index fallback, Index low, Index high) const {
    const nlohmann::json* value = find(key);
    return value == nullptr ? fallback : checked_integer(*value, key, low, high);
  }

  /// A positive dimension; the limit keeps every product of dimensions far from overflow.
  Index size(const char* key, Index fallback) const {
    return integer(key, fallback, 1, Index{1} << 24);
  }

  double number(const char* key, double fallback) const {
    const nlohmann::json* value = find(key);
    if (value == nullptr) return fallback;
    const double number = value->is_number() ? value->get<double>() : 0.0;
    if (!(number > 0.0) || !std::isfinite(number)) throw error(key, "a positive number", value);
    return number;
  }

  bool boolean(const char* key, bool fallback) const {
    const nlohmann::json* value = find(key);
    if (value == nullptr) return fallback;
    if (!value->is_boolean()) throw error(key, "true or false", value);
    return value->get<bool>();
  }

  std::string text(const char* key, const char* fallback) const {
    const nlohmann::json* value = find(key);
    if (value == nullptr) return fallback;
    if (!value->is_string()) throw error(key, "a string", value);
    return value->get<std::string>();
  }

  std::vector<Index> integers(const char* key, std::size_t count, Index low, Index high) const {
    const nlohmann::json* value = find(key);
    if (value == nullptr) return {};
    if (!value->is_array() || value->empty() || (count != 0 && value->size() != count))
      throw error(key, count == 0 ? "a list of integers" : std::to_string(count) + " integers",
                  value);
    std::vector<Index> list;
    for (const auto& item : *value) list.push_back(checked_integer(item, key, low, high));
    return list;
  }

  Activation activation(const char* key, const char* fallback) const {
    const std::string name = text(key, fallback);
    if (name == "quick_gelu") return Activation::quick_gelu;
    if (name == "gelu") return Activation::gelu;
    if (name == "silu" || name == "swish") return Activation::silu;
    throw error(key, "quick_gelu, gelu or silu", find(key));
  }

  /// Refuses a value that would make the model compute something this library does not.
  void require(const char* key, bool good, const std::string& expected) const {
    if (!good) throw error(key, expected, find(key));
  }

 private:
  Index checked_integer(const nlohmann::json& value, const char* key, Index low, Index high) const {
    const bool fits = value.is_number_integer() &&
                      (!value.is_number_unsigned() ||
                       value.get<std::uint64_t>() <=
                           static_cast<std::uint64_t>(std::numeric_limits<Index>::max()));
    const Index n = fits ? value.get<Index>() : 0;
    if (!fits || n < low || n > high)
      throw error(key, "an integer from " + std::to_string(low) + " to " + std::to_string(high),
                  &value);
    return n;
  }

  LoadError error(const char* key, std::string expected, const nlohmann::json* got) const {
    return {"unsupported or malformed configuration",
            {.file = file_,
             .tensor = prefix_ + key,
             .expected = std::move(expected),
             .got = got == nullptr ? "nothing" : got->dump().substr(0, 80)}};
  }

  const nlohmann::json* object_;
  std::string file_;
  std::string prefix_;
};

constexpr Index kMaxToken = std::numeric_limits<std::int32_t>::max();
constexpr Index kMaxLayers = 1024;

/// Missing keys take the defaults of CLIPVisionConfig (a small ViT-B/32), as files omit defaults.
PLLAVA_INLINE VisionConfig read_vision(const ConfigReader& json, Index feature_layer) {
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
  v.activation = json.activation("hidden_act", "quick_gelu");
  v.feature_layer = feature_layer;
  json.require("patch_size", v.image_size % v.patch_size == 0, "a divisor of image_size");
  json.require("num_attention_heads", v.width % v.heads == 0, "a divisor of hidden_size");
  return v;
}

/// Missing keys take the defaults of LlamaConfig.
PLLAVA_INLINE TextConfig read_text(const ConfigReader& json) {
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
  t.context = json.size("max_position_embeddings", 2048);
  t.norm_eps = static_cast<float>(json.number("rms_norm_eps", 1e-6));
  t.rope_theta = json.number("rope_theta", 10000.0);
  t.activation = json.activation("hidden_act", "silu");
  t.tied_embeddings = json.boolean("tie_word_embeddings", false);
  for (const char* key : {"rope_scaling", "rope_parameters"}) {  // older and newer files
    if (json.find(key) == nullptr) continue;
    const ConfigReader rope = json.object(key);
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
PLLAVA_INLINE Index read_token(std::initializer_list<const ConfigReader*> places, const char* key,
                               Index fallback) {
  for (const ConfigReader* place : places) {
    const Index id = place == nullptr ? -1 : place->integer(key, -1, -1, kMaxToken);
    if (id >= 0) return id;
  }
  return fallback;
}

}  // namespace detail

PLLAVA_INLINE ModelConfig ModelConfig::from_directory(const std::filesystem::path& directory) {
  const std::filesystem::path path = directory / "config.json";
  const nlohmann::json config = detail::read_json_object(path);
  const detail::ConfigReader json(config, path.string());

  const std::string type = json.text("model_type", "");
  json.require("model_type", type == "llava" || type == "llava_next" || type == "pllava",
               "\"llava\" or \"llava_next\"");
  if (const auto* list = json.find("architectures")) {
    bool known = false;
    for (const char* name : {"PllavaForConditionalGeneration", "LlavaForConditionalGeneration",
                             "LlavaNextForConditionalGeneration"})
      for (const auto& item : *list) known = known || item == name;
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
  const detail::ConfigReader text = json.object("text_config");
  m.text = detail::read_text(text);
  m.projector = {m.vision.width, m.text.width, json.activation("projector_hidden_act", "gelu")};

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

  std::optional<detail::ConfigReader> generation;
  nlohmann::json generation_json;
  const std::filesystem::path generation_path = directory / "generation_config.json";
  std::error_code ignored;
  if (std::filesystem::exists(generation_path, ignored)) {
    generation_json = detail::read_json_object(generation_path);
    generation.emplace(generation_json, generation_path.string());
  }
  const std::initializer_list<const detail::ConfigReader*> places = {
      generation ? &*generation : nullptr, &text, &json};
  m.pad_token = detail::read_token(places, "pad_token_id", m.pad_token);
  m.bos_token = detail::read_token(places, "bos_token_id", m.bos_token);
  for (const detail::ConfigReader* place : places) {
    const auto* eos = place == nullptr ? nullptr : place->find("eos_token_id");
    if (eos == nullptr) continue;
    m.eos_tokens = eos->is_array()
                       ? place->integers("eos_token_id", 0, 0, detail::kMaxToken)
                       : std::vector{place->integer("eos_token_id", 0, 0, detail::kMaxToken)};
    break;
  }
  return m;
}

PLLAVA_INLINE ModelConfig ModelConfig::preset(std::string_view name) {
  ModelConfig m;
  m.text.vocab = 32064;  // 32,000 and the added tokens, padded to a multiple of 64
  m.text.context = 4096;
  m.text.norm_eps = 1e-5f;
  if (name == "13b") {
    m.text.width = 5120;
    m.text.ffn = 13824;
    m.text.layers = m.text.heads = m.text.kv_heads = 40;
  } else if (name == "34b") {
    m.text.vocab = 64064;
    m.text.width = 7168;
    m.text.ffn = 20480;
    m.text.layers = 60;
    m.text.heads = 56;
    m.text.kv_heads = 8;
    m.text.rope_theta = 5000000.0;
    m.image_token = 64002;
    m.eos_tokens = {7};
  } else if (name == "tiny") {
    m.vision.image_size = 56;
    m.vision.width = 64;
    m.vision.ffn = 128;
    m.vision.layers = 3;
    m.vision.heads = 4;
    m.text.vocab = 320;
    m.text.width = 64;
    m.text.ffn = 160;
    m.text.layers = 2;
    m.text.heads = 4;
    m.text.kv_heads = 2;
    m.text.head_dim = 16;
    m.text.context = 1024;
    m.pool.output = {16, 2, 2};
    m.image_token = 319;
  } else if (name != "7b") {
    throw ArgumentError("no preset \"" + std::string(name) + "\": expected 7b, 13b, 34b or tiny");
  }
  m.projector.input = m.vision.width;
  m.projector.output = m.text.width;
  return m;
}

}  // namespace pllava
