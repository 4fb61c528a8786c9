// The tensor tables of the components.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "pllava/models/language_model.hpp"
#include "pllava/models/projector.hpp"
#include "pllava/models/vision_encoder.hpp"

namespace pllava {

PLLAVA_INLINE TensorTable vision_tensors(const VisionConfig& v) {
  const Index d = v.width;
  TensorTable table;
  const auto embedding = [&](const char* name, const Shape& shape) {
    table.add({.name = std::string("vision_model.embeddings.") + name,
               .shape = shape,
               .initializer = Initializer::embedding});
  };
  const auto norm = [&](const std::string& name, Presence presence) {
    table.add_with_bias(
        name, {.name = {}, .shape = {d}, .presence = presence, .initializer = Initializer::ones});
  };
  if (v.class_token) embedding("class_embedding", {d});
  const TensorSpec patch{.name = "vision_model.embeddings.patch_embedding.weight",
                         .shape = {d, 3, v.patch_size, v.patch_size}};
  if (v.patch_bias)
    table.add_with_bias("vision_model.embeddings.patch_embedding", patch);
  else
    table.add(patch);
  embedding("position_embedding.weight", {v.frame_rows(), d});
  table.add({.name = "vision_model.embeddings.position_ids",
             .shape = {1, v.frame_rows()},
             .presence = Presence::unused});
  // spelled so in every checkpoint
  if (v.pre_norm) norm("vision_model.pre_layrnorm", Presence::required);
  norm("vision_model.post_layernorm", Presence::unused);
  for (Index l = 0; l < v.layers; ++l) {
    const Presence presence = l < v.used_layers() ? Presence::required : Presence::unused;
    const std::string layer = "vision_model.encoder.layers." + std::to_string(l) + ".";
    const auto linear = [&](const char* name, const Shape& shape) {
      table.add_with_bias(
          layer + name,
          {.name = {}, .shape = shape, .presence = presence, .group = QuantizationGroup::vision});
    };
    norm(layer + "layer_norm1", presence);
    norm(layer + "layer_norm2", presence);
    for (const char* projection : {"q_proj", "k_proj", "v_proj", "out_proj"})
      linear((std::string("self_attn.") + projection).c_str(), {d, d});
    linear("mlp.fc1", {v.ffn, d});
    linear("mlp.fc2", {d, v.ffn});
  }
  return table;
}

PLLAVA_INLINE TensorTable projector_tensors(const ProjectorConfig& p) {
  TensorTable table;
  const auto linear = [&](const char* name, Index in) {
    table.add_with_bias(name,
                        {.name = {}, .shape = {p.output, in}, .group = QuantizationGroup::vision});
  };
  linear("linear_1", p.input);
  linear("linear_2", p.output);
  return table;
}

PLLAVA_INLINE float rope_frequency(const TextConfig& t, Index i) {
  const auto frequency = static_cast<float>(
      1.0 / std::pow(t.rope_theta, static_cast<double>(2 * i) / static_cast<double>(t.head_dim)));
  if (!t.rope_factors.empty()) return frequency / t.rope_factors[static_cast<std::size_t>(i)];
  if (!t.rope_scaling) return frequency;
  const RopeScaling& s = *t.rope_scaling;
  constexpr double kTwoPi = 6.283185307179586;
  const double waves = static_cast<double>(s.original_context) * frequency / kTwoPi;
  const double kept =
      std::clamp((waves - s.low_freq_factor) / (s.high_freq_factor - s.low_freq_factor), 0.0, 1.0);
  return static_cast<float>((1 - kept) * frequency / s.factor + kept * frequency);
}

PLLAVA_INLINE TensorTable language_tensors(const TextConfig& t) {
  const Index d = t.width, q = t.heads * t.head_dim, kv = t.kv_heads * t.head_dim;
  TensorTable table;
  // With tied embeddings the table is read a second time, as the matrix before the logits.
  table.add({.name = "model.embed_tokens.weight",
             .shape = {t.vocab, d},
             .group = t.tied_embeddings ? QuantizationGroup::lm_head : QuantizationGroup::none,
             .initializer = Initializer::embedding,
             .is_lookup_table = true});
  table.add({.name = "model.norm.weight", .shape = {d}, .initializer = Initializer::ones});
  table.add({.name = "lm_head.weight",
             .shape = {t.vocab, d},
             .presence = t.tied_embeddings ? Presence::unused : Presence::required,
             .group = QuantizationGroup::lm_head});
  for (Index l = 0; l < t.layers; ++l) {
    const std::string layer = "model.layers." + std::to_string(l) + ".";
    const auto norm = [&](const char* name) {
      table.add({.name = layer + name + ".weight", .shape = {d}, .initializer = Initializer::ones});
    };
    const auto linear = [&](const char* name, const Shape& shape, bool has_bias = false) {
      TensorSpec spec{
          .name = layer + name + ".weight", .shape = shape, .group = QuantizationGroup::language};
      if (has_bias)
        table.add_with_bias(layer + name, std::move(spec));
      else
        table.add(std::move(spec));
    };
    norm("input_layernorm");
    norm("post_attention_layernorm");
    linear("self_attn.q_proj", {q, d}, t.qkv_bias);
    linear("self_attn.k_proj", {kv, d}, t.qkv_bias);
    linear("self_attn.v_proj", {kv, d}, t.qkv_bias);
    linear("self_attn.o_proj", {d, q});
    table.add({.name = layer + "self_attn.rotary_emb.inv_freq",
               .shape = {t.head_dim / 2},
               .presence = Presence::unused});
    linear("mlp.gate_proj", {t.ffn, d});
    linear("mlp.up_proj", {t.ffn, d});
    linear("mlp.down_proj", {d, t.ffn});
  }
  return table;
}

}  // namespace pllava
