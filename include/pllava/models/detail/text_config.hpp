// Reads the decoder's part of config.json, checked.
#pragma once

#include <algorithm>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "pllava/io/detail/json_reader.hpp"
#include "pllava/models/model_config.hpp"

namespace pllava::detail {

constexpr Index kMaxContext = 1 << 20;  // its rotary table takes 512 MiB at head_dim 128
constexpr Index kMaxToken = std::numeric_limits<std::int32_t>::max();
constexpr Index kMaxLayers = 1024;

/// The activation that member `key` names.
inline Activation read_activation(const JsonReader& json, const char* key, const char* fallback) {
  const std::string name = json.text(key, fallback);
  if (name == "quick_gelu") return Activation::quick_gelu;
  if (name == "gelu") return Activation::gelu;
  if (name == "gelu_pytorch_tanh") return Activation::gelu_tanh;
  if (name == "silu" || name == "swish") return Activation::silu;
  throw json.error(key, "quick_gelu, gelu, gelu_pytorch_tanh or silu", json.find(key));
}

/// What differs between the decoders of the LLaMA kind: the defaults of their configuration classes
/// in transformers, and what they always have.
struct DecoderKind {
  std::string_view model_type;
  Index vocab, ffn, kv_heads, context;  ///< kv_heads 0: as many as query heads
  Index window;                         ///< sliding_window where the file has no such key; 0: none
  bool qkv_bias;
};
inline constexpr DecoderKind kDecoderKinds[] = {
    {"llama", 32000, 11008, 0, 2048, 0, false},
    {"mistral", 32000, 14336, 8, 131072, 4096, false},
    {"qwen2", 151936, 22016, 32, 32768, 0, true},
};

inline const DecoderKind& read_decoder_kind(const JsonReader& json) {
  const std::string type = json.text("model_type", "llama");
  const auto* const kind = std::find_if(std::begin(kDecoderKinds), std::end(kDecoderKinds),
                                        [&](const DecoderKind& k) { return k.model_type == type; });
  json.require("model_type", kind != std::end(kDecoderKinds), R"("llama", "mistral" or "qwen2")");
  return *kind;
}

/// Reads the base and the scaling of rotary positions, from the keys of older or newer files.
inline void read_rope(const JsonReader& json, TextConfig& t) {
  t.rope_theta = json.number("rope_theta", 10000.0);
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    if (json.find(key) == nullptr) continue;
    const JsonReader rope = json.object(key);
    t.rope_theta = rope.number("rope_theta", t.rope_theta);
    const std::string kind = rope.text("rope_type", rope.text("type", "default").c_str());
    json.require(key, kind == "default" || kind == "llama3",
                 "no scaling of rotary positions, or rope_type \"llama3\"");
    rope.require("partial_rotary_factor", rope.number("partial_rotary_factor", 1.0) == 1.0, "1");
    if (kind != "llama3") continue;
    RopeScaling s;
    s.factor = rope.number("factor", s.factor);
    s.low_freq_factor = rope.number("low_freq_factor", s.low_freq_factor);
    s.high_freq_factor = rope.number("high_freq_factor", s.high_freq_factor);
    s.original_context =
        rope.integer("original_max_position_embeddings", s.original_context, 1, kMaxContext);
    rope.require("factor", s.factor >= 1, "at least 1");
    rope.require("high_freq_factor", s.high_freq_factor > s.low_freq_factor,
                 "more than low_freq_factor");
    t.rope_scaling = s;
  }
  json.require("partial_rotary_factor", json.number("partial_rotary_factor", 1.0) == 1.0, "1");
}

/// With a sliding window, a position attends to the last `window` positions. In a context of at
/// most so many that changes nothing, so the context is limited to it.
inline void limit_context_to_window(const JsonReader& json, const DecoderKind& kind,
                                    TextConfig& t) {
  Index window = json.has("sliding_window") ? 0 : kind.window;  // a null there means none
  window = json.integer("sliding_window", window, 0, std::numeric_limits<std::int32_t>::max());
  if (kind.model_type == "qwen2" && !json.boolean("use_sliding_window", false)) window = 0;
  if (window > 0) t.context = std::min(t.context, window);
}

/// A decoder's configuration. Missing keys take the defaults of its class in transformers.
inline TextConfig read_text(const JsonReader& json) {
  const DecoderKind& kind = read_decoder_kind(json);
  json.require("attention_bias", !json.boolean("attention_bias", false), "false");
  json.require("mlp_bias", !json.boolean("mlp_bias", false), "false");
  TextConfig t;
  t.vocab = json.size("vocab_size", kind.vocab);
  t.width = json.size("hidden_size", 4096);
  t.ffn = json.size("intermediate_size", kind.ffn);
  t.layers = json.integer("num_hidden_layers", 32, 1, kMaxLayers);
  t.heads = json.size("num_attention_heads", 32);
  t.kv_heads = json.size("num_key_value_heads", kind.kv_heads > 0 ? kind.kv_heads : t.heads);
  t.head_dim = json.size("head_dim", t.width / t.heads);
  t.context = json.integer("max_position_embeddings", kind.context, 1, kMaxContext);
  t.norm_eps = static_cast<float>(json.number("rms_norm_eps", 1e-6));
  t.activation = read_activation(json, "hidden_act", "silu");
  t.tied_embeddings = json.boolean("tie_word_embeddings", false);
  t.qkv_bias = kind.qkv_bias;
  read_rope(json, t);
  limit_context_to_window(json, kind, t);
  if (json.find("head_dim") == nullptr)
    json.require("num_attention_heads", t.width % t.heads == 0, "a divisor of hidden_size");
  json.require("num_key_value_heads", t.heads % t.kv_heads == 0,
               "a divisor of num_attention_heads");
  json.require("head_dim", t.head_dim % 2 == 0 && t.head_dim >= 2, "an even number");
  return t;
}

}  // namespace pllava::detail
