// The names of tensors in GGUF files, and those of llava-hf files.
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

namespace pllava::detail {

using NamePair = std::pair<std::string_view, std::string_view>;

/// `name` with its module renamed, if `modules` has it: "attn_q.weight" ->
/// "self_attn.q_proj.weight". Empty if it has not.
template <std::size_t N>
std::string renamed_module(std::string_view name, const std::array<NamePair, N>& modules) {
  const std::size_t end = name.rfind('.');
  if (end == std::string_view::npos) return {};
  const std::string_view module = name.substr(0, end), parameter = name.substr(end);
  if (parameter != ".weight" && parameter != ".bias") return {};
  for (const auto& [from, to] : modules)
    if (module == from) return std::string(to).append(parameter);
  return {};
}

/// Renames the module of layer "N." at the begin of `name`, with the number before it.
template <std::size_t N>
std::string renamed_layer(std::string_view name, std::string_view list,
                          const std::array<NamePair, N>& modules) {
  const std::size_t end = name.find_first_not_of("0123456789");
  if (end == 0 || end == std::string_view::npos || name[end] != '.') return {};
  const std::string module = renamed_module(name.substr(end + 1), modules);
  if (module.empty()) return {};
  return std::string(list).append(name.substr(0, end + 1)).append(module);
}

/// The llava-hf name of a decoder's tensor; empty if there is none.
inline std::string canonical_text_name(std::string_view name) {
  static constexpr std::array<NamePair, 9> kLayer = {{{"attn_norm", "input_layernorm"},
                                                      {"attn_q", "self_attn.q_proj"},
                                                      {"attn_k", "self_attn.k_proj"},
                                                      {"attn_v", "self_attn.v_proj"},
                                                      {"attn_output", "self_attn.o_proj"},
                                                      {"ffn_norm", "post_attention_layernorm"},
                                                      {"ffn_gate", "mlp.gate_proj"},
                                                      {"ffn_up", "mlp.up_proj"},
                                                      {"ffn_down", "mlp.down_proj"}}};
  static constexpr std::array<NamePair, 3> kModel = {
      {{"token_embd", "language_model.model.embed_tokens"},
       {"output_norm", "language_model.model.norm"},
       {"output", "language_model.lm_head"}}};
  constexpr std::string_view kBlock = "blk.";
  if (name.starts_with(kBlock))
    return renamed_layer(name.substr(kBlock.size()), "language_model.model.layers.", kLayer);
  return renamed_module(name, kModel);
}

/// The llava-hf name of a tensor of a vision tower and its projector; empty if there is none.
/// `swapped`: ffn_up and ffn_down have each other's name.
inline std::string canonical_vision_name(std::string_view name, bool swapped) {
  static constexpr std::array<NamePair, 8> kLayer = {{{"ln1", "layer_norm1"},
                                                      {"ln2", "layer_norm2"},
                                                      {"attn_q", "self_attn.q_proj"},
                                                      {"attn_k", "self_attn.k_proj"},
                                                      {"attn_v", "self_attn.v_proj"},
                                                      {"attn_out", "self_attn.out_proj"},
                                                      {"ffn_up", "mlp.fc1"},
                                                      {"ffn_down", "mlp.fc2"}}};
  static constexpr std::array<NamePair, 6> kModel = {
      {{"v.patch_embd", "vision_tower.vision_model.embeddings.patch_embedding"},
       {"v.position_embd", "vision_tower.vision_model.embeddings.position_embedding"},
       {"v.pre_ln", "vision_tower.vision_model.pre_layrnorm"},
       {"v.post_ln", "vision_tower.vision_model.post_layernorm"},
       {"mm.0", "multi_modal_projector.linear_1"},
       {"mm.2", "multi_modal_projector.linear_2"}}};
  constexpr std::string_view kBlock = "v.blk.";
  if (name == "v.class_embd") return "vision_tower.vision_model.embeddings.class_embedding";
  if (name == "model.image_newline") return "image_newline";
  if (!name.starts_with(kBlock)) return renamed_module(name, kModel);
  std::string renamed = renamed_layer(name.substr(kBlock.size()),
                                      "vision_tower.vision_model.encoder.layers.", kLayer);
  if (swapped)
    if (const std::size_t at = renamed.find(".mlp.fc"); at != std::string::npos) {
      char& number = renamed[at + std::string_view(".mlp.fc").size()];
      number = number == '1' ? '2' : '1';
    }
  return renamed;
}

}  // namespace pllava::detail
