// The configuration of a model from the metadata of GGUF files. What changes the computation and is
// not supported is refused by its key.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "pllava/checkpoint/detail/gguf_keys.hpp"
#include "pllava/error.hpp"
#include "pllava/media/preprocess.hpp"
#include "pllava/models/detail/text_config.hpp"
#include "pllava/models/model_config.hpp"
#include "pllava/weights/detail/dims_str.hpp"
#include "pllava/weights/gguf.hpp"

namespace pllava::detail {

inline constexpr const char* kRopeFactors = "rope_freqs.weight";

/// general.architecture of a file that is whole: neither an adapter nor a part of a split model.
inline std::string gguf_architecture(GgufKeys& keys) {
  const std::string type = keys.text_or("general.type", "model");
  keys.require("general.type", type == "model" || type == "mmproj",
               "\"model\" or \"mmproj\"; adapters are not read");
  if (keys.has("split.count"))
    keys.require("split.count", keys.integer("split.count", 0, kMaxToken) <= 1,
                 "one file, which gguf-split --merge of llama.cpp writes from the parts");
  return keys.get<std::string>("general.architecture");
}

/// Throws LoadError for another architecture than those of a decoder.
inline std::string gguf_text_architecture(GgufKeys& keys) {
  std::string architecture = gguf_architecture(keys);
  if (architecture == "clip")
    throw LoadError("is a vision tower, not a model",
                    {.file = keys.file().path(),
                     .tensor = "general.architecture",
                     .expected = "the GGUF file of the language model; this one is for --mmproj "
                                 "(LoadOptions::mmproj)",
                     .got = {}});
  keys.require("general.architecture", architecture == "llama" || architecture == "qwen2",
               R"("llama" or "qwen2")");
  return architecture;
}

/// The factors that divide the frequencies of rotary positions: a tensor, as llama.cpp's converter
/// computes it from rope_scaling "llama3". Empty if there is none.
inline std::vector<float> read_rope_factors(const GgufFile& file, Index head_dim) {
  const GgufEntry* entry = file.find(kRopeFactors);
  if (entry == nullptr) return {};
  const auto fail = [&](std::string expected, std::string got) {
    return LoadError("unsupported factors of rotary positions", {.file = file.path(),
                                                                 .tensor = kRopeFactors,
                                                                 .expected = std::move(expected),
                                                                 .got = std::move(got)});
  };
  const std::vector<Index> dims{head_dim / 2};
  if (entry->dims != dims) throw fail(dims_str(dims), dims_str(entry->dims));
  const HostTensor tensor = file.tensor(kRopeFactors);
  std::vector<float> factors;
  for (Index i = 0; i < head_dim / 2; ++i) {
    factors.push_back(load_float(tensor.data, tensor.dtype, i));
    if (!std::isfinite(factors.back()) || factors.back() <= 0)
      throw fail("positive numbers", std::to_string(factors.back()));
  }
  return factors;
}

inline Index read_vocabulary_size(GgufKeys& keys, const std::string& architecture) {
  const std::string size = architecture + ".vocab_size", tokens = "tokenizer.ggml.tokens";
  if (!keys.has(tokens)) return keys.integer(size, 1, kMaxToken);
  const auto count = static_cast<Index>(keys.get<std::vector<std::string>>(tokens).size());
  keys.require(tokens, count >= 1, "tokens");
  keys.require(size, keys.integer_or(size, count, 1, kMaxToken) == count,
               "as many tokens as tokenizer.ggml.tokens has, " + std::to_string(count));
  return count;
}

/// The decoder's configuration.
inline TextConfig read_gguf_text(GgufKeys& keys, const std::string& architecture) {
  const auto key = [&](const char* name) { return architecture + '.' + name; };
  TextConfig t;
  t.vocab = read_vocabulary_size(keys, architecture);
  t.width = keys.size(key("embedding_length"));
  t.ffn = keys.size(key("feed_forward_length"));
  t.layers = keys.integer(key("block_count"), 1, kMaxLayers);
  t.heads = keys.size(key("attention.head_count"));
  t.kv_heads = keys.size_or(key("attention.head_count_kv"), t.heads);
  keys.require(key("attention.head_count_kv"), t.heads % t.kv_heads == 0,
               "a divisor of attention.head_count");
  t.head_dim = keys.size_or(key("attention.key_length"), t.width / t.heads);
  if (!keys.has(key("attention.key_length")))
    keys.require(key("attention.head_count"), t.width % t.heads == 0,
                 "a divisor of embedding_length");
  keys.require(key("attention.key_length"), t.head_dim % 2 == 0 && t.head_dim >= 2,
               "an even number");
  for (const char* same : {"attention.value_length", "rope.dimension_count"})
    keys.require(key(same), keys.size_or(key(same), t.head_dim) == t.head_dim,
                 std::to_string(t.head_dim) + ", the width of a head");
  t.context = keys.integer(key("context_length"), 1, kMaxContext);
  t.norm_eps = static_cast<float>(keys.positive(key("attention.layer_norm_rms_epsilon")));
  t.rope_theta = keys.positive_or(key("rope.freq_base"), 10000.0);
  t.rope_factors = read_rope_factors(keys.file(), t.head_dim);
  t.qkv_bias = architecture == "qwen2";
  t.tied_embeddings = keys.file().find("output.weight") == nullptr;

  keys.require_off<std::string>(key("rope.scaling.type"), {"none"});
  for (const char* factor : {"rope.scaling.factor", "rope.scale_linear"})
    keys.require_off<double>(key(factor), {0.0, 1.0});
  keys.require_off<double>(key("rope.scaling.attn_factor"), {1.0});
  for (const char* count : {"expert_count", "expert_used_count", "attention.sliding_window"})
    keys.require_off<std::uint64_t>(key(count), {0});
  keys.require_off<bool>(key("attention.causal"), {true});
  keys.refuse_unread(architecture + '.', {"rope.scaling.original_context_length",
                                          "rope.scaling.finetuned", "tensor_data_layout"});
  return t;
}

/// Whether ffn_up and ffn_down of a vision tower have each other's name, as llama.cpp's older
/// converter wrote them. Only the shapes tell.
inline bool has_swapped_ffn(const GgufFile& file, const VisionConfig& v) {
  const GgufEntry* down = file.find("v.blk.0.ffn_down.weight");
  if (down == nullptr) return false;  // the check of the tensors reports it
  if (v.ffn == v.width)
    throw LoadError("cannot tell ffn_up from ffn_down",
                    {.file = file.path(),
                     .tensor = "clip.vision.feed_forward_length",
                     .expected = "another number than clip.vision.embedding_length",
                     .got = std::to_string(v.ffn)});
  return down->dims == std::vector{v.ffn, v.width};
}

/// The hidden state whose rows are the features. Without the key: the older converter left out the
/// layers above it, so it is the last; other files hold the whole tower, and it is the last but
/// one.
inline Index read_gguf_feature_layer(GgufKeys& keys, const VisionConfig& v, bool is_older) {
  const std::string key = "clip.vision.feature_layer";
  if (!keys.has(key)) return is_older ? -1 : -2;
  const auto layers = keys.integers(key);
  keys.require(key, layers.size() == 1, "one layer; features of several are not concatenated");
  keys.require(key, layers[0] >= 0 && layers[0] <= v.layers,
               "one of the " + std::to_string(v.layers + 1) + " hidden states");
  return layers[0];
}

/// Throws LoadError unless the file is an mmproj file of the LLaVA kind.
inline void require_llava_projector(GgufKeys& keys) {
  const std::string architecture = gguf_architecture(keys);
  if (architecture != "clip")
    throw LoadError("is not a vision tower", {.file = keys.file().path(),
                                              .tensor = "general.architecture",
                                              .expected = "\"clip\", an mmproj file",
                                              .got = '"' + architecture + '"'});
  const auto flag = [&](const char* key, bool fallback, bool expected) {
    keys.require(key, keys.boolean_or(key, fallback) == expected, expected ? "true" : "false");
  };
  flag("clip.has_vision_encoder", false, true);
  flag("clip.has_text_encoder", false, false);
  flag("clip.has_audio_encoder", false, false);
  const std::string projector =
      keys.has("clip.projector_type") ? "clip.projector_type" : "clip.vision.projector_type";
  if (!keys.has(projector)) {
    flag("clip.has_llava_projector", false, true);
  } else {
    keys.require(projector, keys.get<std::string>(projector) == "mlp",
                 "\"mlp\", the projector of LLaVA");
    flag("clip.has_llava_projector", true, true);
  }
}

/// The vision tower's configuration.
inline VisionConfig read_gguf_vision(GgufKeys& keys) {
  VisionConfig v;
  v.image_size = keys.integer("clip.vision.image_size", 1, 4096);
  v.patch_size = keys.integer("clip.vision.patch_size", 1, 4096);
  v.width = keys.size("clip.vision.embedding_length");
  v.ffn = keys.size("clip.vision.feed_forward_length");
  v.layers = keys.integer("clip.vision.block_count", 1, kMaxLayers);
  v.heads = keys.size("clip.vision.attention.head_count");
  v.norm_eps = static_cast<float>(keys.positive("clip.vision.attention.layer_norm_epsilon"));
  keys.require("clip.vision.patch_size", v.image_size % v.patch_size == 0,
               "a divisor of image_size");
  keys.require("clip.vision.attention.head_count", v.width % v.heads == 0,
               "a divisor of embedding_length");
  const bool gelu = keys.boolean_or("clip.use_gelu", false);
  const bool silu = keys.boolean_or("clip.use_silu", false);
  keys.require("clip.use_silu", !(gelu && silu), "not both use_gelu and use_silu");
  v.activation = gelu ? Activation::gelu : silu ? Activation::silu : Activation::quick_gelu;
  v.feature_layer = read_gguf_feature_layer(keys, v, has_swapped_ffn(keys.file(), v));
  return v;
}

/// Size and normalization of the images, from an mmproj file.
inline PreprocessConfig read_gguf_preprocess(GgufKeys& keys) {
  PreprocessConfig p;
  p.image_size = keys.integer("clip.vision.image_size", 1, 4096);
  const auto channels = [&](const char* key, double lowest, std::array<float, 3>& values) {
    const auto list = keys.get<std::vector<double>>(key);
    keys.require(key, list.size() == values.size(), "three numbers");
    for (std::size_t c = 0; c < values.size(); ++c) {
      values[c] = static_cast<float>(list[c]);
      keys.require(key, list[c] >= lowest && list[c]<1e6, lowest> 0 ? "three positive numbers"
                                                                    : "three numbers");
    }
  };
  channels("clip.vision.image_mean", -1e6, p.image_mean);
  channels("clip.vision.image_std", 1e-6, p.image_std);
  return p;
}

/// Keys of LLaVA-NeXT's tiles are ignored: only the base image is encoded. The others are of the
/// training or of CLIP's text tower.
inline void refuse_unread_clip_keys(GgufKeys& keys) {
  keys.refuse_unread("clip.", {"vision.projection_dim", "vision.image_grid_pinpoints",
                               "vision.image_crop_resolution", "vision.image_aspect_ratio",
                               "vision.image_split_resolution", "vision.mm_patch_merge_type",
                               "vision.mm_projector_type"});
}

}  // namespace pllava::detail
