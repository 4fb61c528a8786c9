// Loading of the layers that every component has: linear layers and norms.
#pragma once

#include "pllava/core/ops.hpp"
#include "pllava/weights/weight_source.hpp"

namespace pllava::ops {

/// Loads a matrix (out, in) and, where `bias` is named, its bias from a scope.
template <Backend B>
Linear<typename B::Weight> load_linear(B& be, const WeightScope& scope, Index out, Index in,
                                       bool bias) {
  const HostTensor w = scope.tensor("weight", {out, in});
  Linear<typename B::Weight> linear{be.prepare({&w, 1}, WeightRole::linear), {}, out, in};
  if (bias) {
    const HostTensor b = scope.tensor("bias", {out});
    linear.bias = be.prepare({&b, 1}, WeightRole::vector);
  }
  return linear;
}

/// Loads a norm of width `d`: LayerNorm has a bias, RMSNorm none.
template <Backend B>
Norm<typename B::Weight> load_norm(B& be, const WeightScope& scope, Index d, NormKind kind,
                                   float eps) {
  const HostTensor gain = scope.tensor("weight", {d});
  Norm<typename B::Weight> norm{kind, be.prepare({&gain, 1}, WeightRole::vector), {}, eps};
  if (kind == NormKind::layer) {
    const HostTensor bias = scope.tensor("bias", {d});
    norm.bias = be.prepare({&bias, 1}, WeightRole::vector);
  }
  return norm;
}

}  // namespace pllava::ops
