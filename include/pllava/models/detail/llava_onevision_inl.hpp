// LlavaOnevision: the configuration and the tensors of llava-hf's LLaVA-OneVision.
#pragma once

#include <string>
#include <string_view>

#include "pllava/error.hpp"
#include "pllava/io/detail/json_file.hpp"
#include "pllava/io/detail/json_reader.hpp"
#include "pllava/models/architecture.hpp"
#include "pllava/models/detail/llava_parts.hpp"
#include "pllava/models/detail/special_tokens.hpp"
#include "pllava/models/detail/text_config.hpp"
#include "pllava/models/detail/vision_config.hpp"

namespace pllava {

namespace detail {

/// The attention pooling head of SigLIP, which images alone use.
inline void add_siglip_head(TensorTable& table, const VisionConfig& v) {
  const auto add = [&](std::string_view name, const Shape& shape) {
    table.add({.name = "vision_tower.vision_model.head." + std::string(name),
               .shape = shape,
               .presence = Presence::unused});
  };
  const Index d = v.width;
  add("probe", {1, 1, d});
  add("attention.in_proj_weight", {3 * d, d});
  add("attention.in_proj_bias", {3 * d});
  add("attention.out_proj.weight", {d, d});
  add("attention.out_proj.bias", {d});
  add("layernorm.weight", {d});
  add("layernorm.bias", {d});
  add("mlp.fc1.weight", {v.ffn, d});
  add("mlp.fc1.bias", {v.ffn});
  add("mlp.fc2.weight", {d, v.ffn});
  add("mlp.fc2.bias", {d});
}

}  // namespace detail

PLLAVA_INLINE ModelConfig LlavaOnevision::read_config(const std::filesystem::path& directory) {
  const std::filesystem::path path = directory / "config.json";
  const detail::JsonDocument config = detail::read_json_object(path);
  const detail::JsonReader json(config.root, path.string());

  json.require("architectures",
               json.find("architectures") == nullptr ||
                   detail::has_architecture(json, {"LlavaOnevisionForConditionalGeneration"}),
               "a LLaVA-OneVision model");
  json.require("vision_feature_select_strategy",
               json.text("vision_feature_select_strategy", "full") == "full",
               "\"full\": SigLIP has no class token to drop");

  ModelConfig m;
  m.vision = detail::read_vision(json, detail::kSiglip, -1);
  const detail::JsonReader text = json.object("text_config");
  text.require("model_type", text.text("model_type", "") == "qwen2", "\"qwen2\"");
  m.text = detail::read_text(text);
  // Set in either of the two places, as transformers reads it.
  m.text.tied_embeddings = m.text.tied_embeddings || json.boolean("tie_word_embeddings", false);
  m.projector = detail::read_projector(json, m);
  m.frames = json.integer("num_frames", m.frames, 1, 1 << 14);
  const Index side = (m.vision.grid_side() + 1) / 2;
  m.pool = {.output = {m.frames, side, side}, .kind = PoolKind::bilinear, .keeps_frames = true};
  m.end_rows = 1;
  m.conversation_template = "llava_onevision";
  m.image_token = detail::read_image_token(json, 151646);
  m.notes.push_back(
      "pictures are encoded as videos of one frame, without tiles, so vision_aspect_ratio and "
      "image_grid_pinpoints are unused");
  detail::read_special_tokens(m, directory, {&text, &json});
  return m;
}

PLLAVA_INLINE TensorTable LlavaOnevision::tensors(const ModelConfig& config) {
  TensorTable table;
  table.add("vision_tower", vision_tensors(config.vision));
  detail::add_siglip_head(table, config.vision);
  table.add("multi_modal_projector", projector_tensors(config.projector));
  table.add(newline_tensor(config.projector));
  table.add("language_model", language_tensors(config.text));
  return table;
}

}  // namespace pllava
