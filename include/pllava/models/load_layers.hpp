// Loads the layers of components. Names and shapes come from the component's tensor table.
#pragma once

#include <array>

#include "pllava/core/backend.hpp"
#include "pllava/weights/weight_source.hpp"

namespace pllava {

/// Loads "weight" for this role.
template <Backend B>
typename B::Weight load_weight(B& be, const ComponentWeights& weights, WeightRole role) {
  const HostTensor tensor = weights.tensor("weight");
  return be.prepare({&tensor, 1}, role);
}

/// Loads a linear layer: "weight" (out, in) and, where the table has one, "bias" (out).
template <Backend B>
Linear<typename B::Weight> load_linear(B& be, const ComponentWeights& weights) {
  const HostTensor w = weights.tensor("weight");
  Linear<typename B::Weight> linear{
      be.prepare({&w, 1}, WeightRole::linear), {}, w.shape[0], w.shape[1]};
  if (weights.has("bias")) {
    const HostTensor b = weights.tensor("bias");
    linear.bias = be.prepare({&b, 1}, WeightRole::vector);
  }
  return linear;
}

/// Loads the query, key and value projections stacked as one linear layer, with their biases where
/// the table has them.
template <Backend B>
Linear<typename B::Weight> load_qkv(B& be, const ComponentWeights& attention) {
  const auto all = [&](const char* member) {
    return std::array{attention["q_proj"].tensor(member), attention["k_proj"].tensor(member),
                      attention["v_proj"].tensor(member)};
  };
  const auto w = all("weight");
  const Index out = w[0].shape[0] + w[1].shape[0] + w[2].shape[0];
  Linear<typename B::Weight> linear{be.prepare(w, WeightRole::linear), {}, out, w[0].shape[1]};
  if (attention["q_proj"].has("bias")) linear.bias = be.prepare(all("bias"), WeightRole::vector);
  return linear;
}

/// Loads a norm: "weight" (D) and, where the table has one, "bias" (D).
template <Backend B>
Norm<typename B::Weight> load_norm(B& be, const ComponentWeights& weights, NormKind kind,
                                   float eps) {
  Norm<typename B::Weight> norm{kind, load_weight(be, weights, WeightRole::vector), {}, eps};
  if (weights.has("bias")) {
    const HostTensor bias = weights.tensor("bias");
    norm.bias = be.prepare({&bias, 1}, WeightRole::vector);
  }
  return norm;
}

}  // namespace pllava
