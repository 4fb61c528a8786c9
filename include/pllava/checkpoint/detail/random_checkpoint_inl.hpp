// Bodies of checkpoint/random_checkpoint.hpp.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "pllava/checkpoint/random_checkpoint.hpp"
#include "pllava/error.hpp"
#include "pllava/io/detail/json_document.hpp"
#include "pllava/io/detail/output_file.hpp"
#include "pllava/models/architecture.hpp"
#include "pllava/weights/detail/safetensors_writer.hpp"
#include "pllava/weights/random_weights.hpp"

namespace pllava {
namespace detail {

PLLAVA_INLINE std::string_view activation_name(Activation a) {
  switch (a) {
    case Activation::quick_gelu: return "quick_gelu";
    case Activation::gelu: return "gelu";
    case Activation::gelu_tanh: return "gelu_pytorch_tanh";
    case Activation::silu: return "silu";
    case Activation::none: break;
  }
  throw ArgumentError("a configuration file has no name for the activation \"none\"");
}

// Keys are assigned one by one from few types: each initializer list of nlohmann::json and each
// length of a literal is a template instance of its own, and pllava.hpp includes this file.
PLLAVA_INLINE JsonDocument to_json(const ModelConfig& m) {
  using namespace std::string_view_literals;
  if (m.model_type != "llava" && m.model_type != "pllava")
    throw ArgumentError("a random checkpoint of model_type \"" + m.model_type +
                        "\"; expected \"llava\" or \"pllava\"");
  const VisionConfig& v = m.vision;
  const TextConfig& t = m.text;
  JsonDocument document;
  nlohmann::json& model = document.root;
  nlohmann::json& vision = model["vision_config"];
  vision["model_type"] = "clip_vision_model"sv;
  vision["image_size"] = v.image_size;
  vision["patch_size"] = v.patch_size;
  vision["hidden_size"] = v.width;
  vision["intermediate_size"] = v.ffn;
  vision["num_hidden_layers"] = v.layers;
  vision["num_attention_heads"] = v.heads;
  vision["layer_norm_eps"] = v.norm_eps;
  vision["hidden_act"] = activation_name(v.activation);

  nlohmann::json& text = model["text_config"];
  text["model_type"] = "llama"sv;
  text["vocab_size"] = t.vocab;
  text["hidden_size"] = t.width;
  text["intermediate_size"] = t.ffn;
  text["num_hidden_layers"] = t.layers;
  text["num_attention_heads"] = t.heads;
  text["num_key_value_heads"] = t.kv_heads;
  text["head_dim"] = t.head_dim;
  text["max_position_embeddings"] = t.context;
  text["rms_norm_eps"] = t.norm_eps;
  text["rope_theta"] = t.rope_theta;
  text["hidden_act"] = activation_name(t.activation);
  text["tie_word_embeddings"] = t.tied_embeddings;

  model["architectures"].push_back("LlavaForConditionalGeneration"sv);
  model["model_type"] = "llava"sv;
  model["image_token_index"] = m.image_token;
  model["num_frames"] = m.frames;
  model["pooling_method"] = "avg"sv;
  assign(model["pooling_shape"], std::vector{m.pool.output.t, m.pool.output.h, m.pool.output.w});
  assign(model["frame_shape"], std::vector{v.grid_side(), v.grid_side()});
  model["projector_hidden_act"] = activation_name(m.projector.activation);
  model["vision_feature_layer"] = v.feature_layer;
  model["vision_feature_select_strategy"] = "default"sv;
  return document;
}

/// Refuses what to_json and generation_json do not write.
inline void require_writable(const ModelConfig& m) {
  if (m.text.qkv_bias || m.text.rope_scaling)
    throw ArgumentError("a random checkpoint has a LLaMA decoder: no qkv_bias, no rope_scaling");
  if (m.projector.pools_first || m.pool.keeps_frames || m.pool.kind != PoolKind::average)
    throw ArgumentError("a random checkpoint has PLLaVA's pooling: average, after the projector");
  if (m.eos_tokens.empty())
    throw ArgumentError("a random checkpoint needs an end-of-sequence token");
}

inline JsonDocument generation_json(const ModelConfig& m) {
  JsonDocument document;
  nlohmann::json& json = document.root;
  json["bos_token_id"] = m.bos_token;
  assign(json["eos_token_id"], m.eos_tokens);
  json["pad_token_id"] = m.pad_token;
  return document;
}

inline JsonDocument preprocessor_json(Index side) {
  using namespace std::string_view_literals;
  JsonDocument document;
  nlohmann::json& json = document.root;
  json["image_processor_type"] = "CLIPImageProcessor"sv;
  json["size"]["shortest_edge"] = side;
  json["crop_size"]["height"] = side;
  json["crop_size"]["width"] = side;
  json["resample"] = 3;
  json["rescale_factor"] = 0.00392156862745098;
  for (const double m : {0.48145466, 0.4578275, 0.40821073}) json["image_mean"].push_back(m);
  for (const double s : {0.26862954, 0.26130258, 0.27577711}) json["image_std"].push_back(s);
  return document;
}

}  // namespace detail

PLLAVA_INLINE void write_random_checkpoint(const std::filesystem::path& directory,
                                           const ModelConfig& config, std::uint64_t seed,
                                           DType dtype) {
  detail::require_writable(config);
  const RandomWeights weights(seed, dtype);
  const detail::JsonDocument config_json = detail::to_json(config);
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) throw FileError(directory.string(), "cannot be created: " + error.message());
  const auto write = [&](const char* name, const detail::JsonDocument& json) {
    const std::string text = json.root.dump(2) + "\n";
    detail::OutputFile file(directory / name);
    file.write(text.data(), text.size());
    file.commit();
  };
  write("config.json", config_json);
  write("generation_config.json", detail::generation_json(config));
  write("preprocessor_config.json", detail::preprocessor_json(config.vision.image_size));
  std::vector<detail::TensorToWrite> tensors;
  for (const TensorSpec& spec : model_tensors(config))
    if (spec.presence == Presence::required)
      tensors.push_back(
          {spec.name, dtype, spec.shape, [weights, spec] { return weights.tensor(spec); }});
  detail::write_safetensors(directory / "model.safetensors", std::move(tensors),
                            {{"format", "pt"}});
}

}  // namespace pllava
