// Bodies of tensor_table.hpp.
#pragma once

#include <utility>

#include "pllava/models/tensor_table.hpp"

namespace pllava {
namespace detail {

/// Collects specifications; `with_bias` adds the bias of a linear layer or a layer norm.
struct TensorTable {
  std::vector<TensorSpec> specs;

  void add(std::string name, Shape shape, Presence presence = Presence::required) {
    specs.push_back({std::move(name), shape, presence});
  }
  void with_bias(const std::string& name, Shape weight, Presence presence = Presence::required) {
    add(name + ".weight", weight, presence);
    add(name + ".bias", {weight[0]}, presence);
  }
};

PLLAVA_INLINE void add_vision(TensorTable& table, const VisionConfig& v) {
  const std::string model = "vision_tower.vision_model.";
  const Index d = v.width;
  table.add(model + "embeddings.class_embedding", {d});
  table.add(model + "embeddings.patch_embedding.weight", {d, 3, v.patch_size, v.patch_size});
  table.add(model + "embeddings.position_embedding.weight", {v.patches() + 1, d});
  table.add(model + "embeddings.position_ids", {1, v.patches() + 1}, Presence::unused);
  table.with_bias(model + "pre_layrnorm", {d});  // spelled so in every checkpoint
  table.with_bias(model + "post_layernorm", {d}, Presence::unused);
  for (Index l = 0; l < v.layers; ++l) {
    const Presence presence = l < v.used_layers() ? Presence::required : Presence::unused;
    const std::string layer = model + "encoder.layers." + std::to_string(l) + ".";
    for (const char* norm : {"layer_norm1", "layer_norm2"})
      table.with_bias(layer + norm, {d}, presence);
    for (const char* projection : {"q_proj", "k_proj", "v_proj", "out_proj"})
      table.with_bias(layer + "self_attn." + projection, {d, d}, presence);
    table.with_bias(layer + "mlp.fc1", {v.ffn, d}, presence);
    table.with_bias(layer + "mlp.fc2", {d, v.ffn}, presence);
  }
}

PLLAVA_INLINE void add_text(TensorTable& table, const TextConfig& t) {
  const std::string model = "language_model.model.";
  const Index d = t.width, q = t.heads * t.head_dim, kv = t.kv_heads * t.head_dim;
  table.add(model + "embed_tokens.weight", {t.vocab, d});
  table.add(model + "norm.weight", {d});
  table.add("language_model.lm_head.weight", {t.vocab, d},
            t.tied_embeddings ? Presence::unused : Presence::required);
  for (Index l = 0; l < t.layers; ++l) {
    const std::string layer = model + "layers." + std::to_string(l) + ".";
    table.add(layer + "input_layernorm.weight", {d});
    table.add(layer + "post_attention_layernorm.weight", {d});
    table.add(layer + "self_attn.q_proj.weight", {q, d});
    table.add(layer + "self_attn.k_proj.weight", {kv, d});
    table.add(layer + "self_attn.v_proj.weight", {kv, d});
    table.add(layer + "self_attn.o_proj.weight", {d, q});
    table.add(layer + "self_attn.rotary_emb.inv_freq", {t.head_dim / 2}, Presence::unused);
    table.add(layer + "mlp.gate_proj.weight", {t.ffn, d});
    table.add(layer + "mlp.up_proj.weight", {t.ffn, d});
    table.add(layer + "mlp.down_proj.weight", {d, t.ffn});
  }
}

}  // namespace detail

PLLAVA_INLINE std::vector<TensorSpec> model_tensors(const ModelConfig& config) {
  detail::TensorTable table;
  detail::add_vision(table, config.vision);
  const ProjectorConfig& p = config.projector;
  table.with_bias("multi_modal_projector.linear_1", {p.output, p.input});
  table.with_bias("multi_modal_projector.linear_2", {p.output, p.output});
  table.add("image_newline", {config.text.width}, Presence::unused);
  detail::add_text(table, config.text);
  return std::move(table.specs);
}

PLLAVA_INLINE Index required_tensors(const ModelConfig& config) {
  Index count = 0;
  for (const TensorSpec& spec : model_tensors(config)) count += spec.presence == Presence::required;
  return count;
}

}  // namespace pllava
