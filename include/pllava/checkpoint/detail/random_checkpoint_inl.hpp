// Bodies of checkpoint/random_checkpoint.hpp.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "pllava/checkpoint/random_checkpoint.hpp"
#include "pllava/error.hpp"
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
    case Activation::silu: return "silu";
    case Activation::none: break;
  }
  throw ArgumentError("a configuration file has no name for the activation \"none\"");
}

PLLAVA_INLINE nlohmann::json to_json(const ModelConfig& m) {
  const VisionConfig& v = m.vision;
  const TextConfig& t = m.text;
  return {{"architectures", {"LlavaForConditionalGeneration"}},
          {"model_type", "llava"},
          {"image_token_index", m.image_token},
          {"num_frames", m.frames},
          {"pooling_method", "avg"},
          {"pooling_shape", {m.pool.output.t, m.pool.output.h, m.pool.output.w}},
          {"frame_shape", {v.grid_side(), v.grid_side()}},
          {"projector_hidden_act", activation_name(m.projector.activation)},
          {"vision_feature_layer", v.feature_layer},
          {"vision_feature_select_strategy", "default"},
          {"vision_config",
           {{"model_type", "clip_vision_model"},
            {"image_size", v.image_size},
            {"patch_size", v.patch_size},
            {"hidden_size", v.width},
            {"intermediate_size", v.ffn},
            {"num_hidden_layers", v.layers},
            {"num_attention_heads", v.heads},
            {"layer_norm_eps", v.norm_eps},
            {"hidden_act", activation_name(v.activation)}}},
          {"text_config",
           {{"model_type", "llama"},
            {"vocab_size", t.vocab},
            {"hidden_size", t.width},
            {"intermediate_size", t.ffn},
            {"num_hidden_layers", t.layers},
            {"num_attention_heads", t.heads},
            {"num_key_value_heads", t.kv_heads},
            {"head_dim", t.head_dim},
            {"max_position_embeddings", t.context},
            {"rms_norm_eps", t.norm_eps},
            {"rope_theta", t.rope_theta},
            {"hidden_act", activation_name(t.activation)},
            {"tie_word_embeddings", t.tied_embeddings}}}};
}

}  // namespace detail

PLLAVA_INLINE void write_random_checkpoint(const std::filesystem::path& directory,
                                           const ModelConfig& config, std::uint64_t seed,
                                           DType dtype) {
  const RandomWeights weights(seed, dtype);
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) throw FileError(directory.string(), "cannot be created: " + error.message());
  const auto write = [&](const char* name, const nlohmann::json& json) {
    const std::string text = json.dump(2) + "\n";
    detail::OutputFile file(directory / name);
    file.write(text.data(), text.size());
    file.commit();
  };
  write("config.json", detail::to_json(config));
  write("generation_config.json", {{"bos_token_id", config.bos_token},
                                   {"eos_token_id", config.eos_tokens},
                                   {"pad_token_id", config.pad_token}});
  const Index side = config.vision.image_size;
  write("preprocessor_config.json", {{"image_processor_type", "CLIPImageProcessor"},
                                     {"size", {{"shortest_edge", side}}},
                                     {"crop_size", {{"height", side}, {"width", side}}},
                                     {"resample", 3},
                                     {"rescale_factor", 0.00392156862745098},
                                     {"image_mean", {0.48145466, 0.4578275, 0.40821073}},
                                     {"image_std", {0.26862954, 0.26130258, 0.27577711}}});
  std::vector<detail::TensorToWrite> tensors;
  for (const TensorSpec& spec : model_tensors(config))
    if (spec.presence == Presence::required)
      tensors.push_back(
          {spec.name, dtype, spec.shape, [weights, spec] { return weights.tensor(spec); }});
  detail::write_safetensors(directory / "model.safetensors", std::move(tensors),
                            {{"format", "pt"}});
}

}  // namespace pllava
