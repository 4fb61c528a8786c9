// Loads the layers of components. Names and shapes come from the component's tensor table.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "pllava/core/backend.hpp"
#include "pllava/weights/shared_weights.hpp"
#include "pllava/weights/weight_source.hpp"

namespace pllava {

/// Prepares the tensors `names` of `weights` as one weight, or returns that of a model with which
/// the source shares them.
template <Backend B>
typename B::Weight prepare(B& be, const ComponentWeights& weights,
                           const std::vector<std::string_view>& names, WeightRole role) {
  std::vector<std::string> full_names;
  std::string key = std::to_string(static_cast<int>(role));
  for (const std::string_view name : names)
    key += " " + full_names.emplace_back(weights.source_name(name)) + weights.shape(name).str();
  const auto prepare_new = [&] {
    std::vector<HostTensor> parts;
    parts.reserve(names.size());
    for (const std::string_view name : names) parts.push_back(weights.tensor(name));
    return be.prepare(parts, role);
  };
  SharedWeights* const shared = weights.source().shared(full_names);
  return shared == nullptr ? prepare_new() : shared->get<typename B::Weight>(key, prepare_new);
}

/// Loads "weight" for this role.
template <Backend B>
typename B::Weight load_weight(B& be, const ComponentWeights& weights, WeightRole role) {
  return prepare(be, weights, {"weight"}, role);
}

/// Loads a linear layer: "weight" (out, in) and, where the table has one, "bias" (out).
template <Backend B>
Linear<typename B::Weight> load_linear(B& be, const ComponentWeights& weights) {
  const Shape& shape = weights.shape("weight");
  Linear<typename B::Weight> linear{
      load_weight(be, weights, WeightRole::linear), {}, shape[0], shape[1]};
  if (weights.has("bias")) linear.bias = prepare(be, weights, {"bias"}, WeightRole::vector);
  return linear;
}

/// Loads the query, key and value projections stacked as one linear layer, with their biases where
/// the table has them.
template <Backend B>
Linear<typename B::Weight> load_qkv(B& be, const ComponentWeights& attention) {
  const auto rows = [&](const char* name) { return attention.shape(name)[0]; };
  Linear<typename B::Weight> linear{
      prepare(be, attention, {"q_proj.weight", "k_proj.weight", "v_proj.weight"},
              WeightRole::linear),
      {},
      rows("q_proj.weight") + rows("k_proj.weight") + rows("v_proj.weight"),
      attention.shape("q_proj.weight")[1]};
  if (attention.has("q_proj.bias"))
    linear.bias =
        prepare(be, attention, {"q_proj.bias", "k_proj.bias", "v_proj.bias"}, WeightRole::vector);
  return linear;
}

/// Loads the gate and up projections of a gated MLP for `glu`; `out` is the rows of each.
template <Backend B>
Linear<typename B::Weight> load_gate_up(B& be, const ComponentWeights& mlp) {
  const Shape& shape = mlp.shape("gate_proj.weight");
  return {prepare(be, mlp, {"gate_proj.weight", "up_proj.weight"}, WeightRole::gate_up),
          {},
          shape[0],
          shape[1]};
}

/// Loads a norm: "weight" (D) and, where the table has one, "bias" (D).
template <Backend B>
Norm<typename B::Weight> load_norm(B& be, const ComponentWeights& weights, NormKind kind,
                                   float eps) {
  Norm<typename B::Weight> norm{kind, load_weight(be, weights, WeightRole::vector), {}, eps};
  if (weights.has("bias")) norm.bias = prepare(be, weights, {"bias"}, WeightRole::vector);
  return norm;
}

}  // namespace pllava
