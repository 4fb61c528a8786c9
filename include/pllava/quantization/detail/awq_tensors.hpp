// Which tensors of a decoder layer AWQ scales, and how their channels correspond.
#pragma once

#include <charconv>
#include <cstddef>
#include <optional>
#include <span>
#include <string_view>
#include <system_error>
#include <vector>

#include "pllava/core/backend.hpp"
#include "pllava/quantization/awq.hpp"

namespace pllava::detail {

/// A tensor of a decoder layer that scales are folded into.
struct ScaledTensor {
  std::string_view name;                // behind "layers.N."
  Product product;                      // whose input channels its columns are
  bool makes_input = false;             // a norm: divided by the scales and not multiplied
  std::optional<Product> read_by = {};  // whose input channels its rows become
};

inline constexpr ScaledTensor kScaledTensors[] = {
    {"input_layernorm.weight", Product::qkv, true},
    {"self_attn.q_proj.weight", Product::qkv},
    {"self_attn.k_proj.weight", Product::qkv},
    {"self_attn.v_proj.weight", Product::qkv, false, Product::o},
    {"self_attn.o_proj.weight", Product::o},
    {"post_attention_layernorm.weight", Product::gate_up, true},
    {"mlp.gate_proj.weight", Product::gate_up},
    {"mlp.up_proj.weight", Product::gate_up, false, Product::down},
    {"mlp.down_proj.weight", Product::down}};

struct LayerTensor {
  std::size_t layer;
  ScaledTensor tensor;
};

/// What a canonical name says, if it is that of a tensor to scale.
inline std::optional<LayerTensor> layer_tensor(std::string_view name) {
  constexpr std::string_view kLayers = "language_model.model.layers.";
  if (!name.starts_with(kLayers)) return {};
  name.remove_prefix(kLayers.size());
  std::size_t layer = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), layer);
  if (error != std::errc()) return {};
  name.remove_prefix(static_cast<std::size_t>(end - name.data()));
  for (const ScaledTensor& tensor : kScaledTensors)
    if (name.starts_with('.') && name.substr(1) == tensor.name) return LayerTensor{layer, tensor};
  return {};
}

inline Heads heads_of(const TextConfig& t) {
  return {t.heads, t.kv_heads, t.head_dim};
}

/// The first channel of o_proj's input that row `r` of v_proj becomes.
inline Index first_reader(const Heads& heads, Index r) {
  return r / heads.head_dim * (heads.num_query_heads / heads.num_kv_heads) * heads.head_dim +
         r % heads.head_dim;
}

/// What an error costs in channels whose weights were multiplied by `scales`.
inline std::vector<float> scaled_importance(std::span<const float> importance,
                                            std::span<const float> scales) {
  std::vector<float> costs(importance.begin(), importance.end());
  for (std::size_t k = 0; k < costs.size(); ++k) costs[k] /= scales[k] * scales[k];
  return costs;
}

}  // namespace pllava::detail
