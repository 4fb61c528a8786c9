// How much work a model is: operations and bytes that no implementation can do without. Over what a
// machine can do at most, they are the floor of the time.
#pragma once

#include "pllava/core/dtype.hpp"
#include "pllava/model_config.hpp"

namespace pllava {

// A multiplication with an addition counts as two operations.

/// Of the vision encoder over `frames` frames: the layers that are used.
inline double vision_flops(const VisionConfig& c, Index frames) {
  const auto rows = static_cast<double>(frames * (c.patches() + 1));
  const auto d = static_cast<double>(c.width), f = static_cast<double>(c.ffn);
  const double products = 2 * rows * (4 * d * d + 2 * d * f);
  const double attention = 4 * rows * static_cast<double>(c.patches() + 1) * d;
  return static_cast<double>(c.used_layers()) * (products + attention);
}

/// Of linear_1 over all patches and linear_2 over the pooled rows.
inline double projector_flops(const ProjectorConfig& c, Index patches, Index pooled) {
  return static_cast<double>(2 * c.output * (patches * c.input + pooled * c.output));
}

/// Weights of one decoder layer.
inline double layer_weights(const TextConfig& c) {
  const Index attention = c.width * c.head_dim * (2 * c.heads + 2 * c.kv_heads);
  return static_cast<double>(attention + 3 * c.width * c.ffn);
}

/// Of a prefill of `rows` rows after `past`, the logits of the last row included. In the last layer
/// only that row goes beyond its keys and values.
inline double prefill_flops(const TextConfig& c, Index rows, Index past = 0) {
  const auto n = static_cast<double>(rows), seen = static_cast<double>(past) + n / 2;
  const auto whole = static_cast<double>(c.layers - 1);
  const auto qkv = static_cast<double>(c.width * c.head_dim * (c.heads + 2 * c.kv_heads));
  const auto mixed = 4 * n * seen * static_cast<double>(c.heads * c.head_dim);
  return 2 * n * (whole * layer_weights(c) + qkv) + mixed * whole +
         2 * static_cast<double>(c.vocab * c.width);
}

/// Bytes that one decode step reads after `past` rows: every weight once, and all keys and values.
inline double decode_bytes(const TextConfig& c, Index past, DType dtype) {
  const auto layers = static_cast<double>(c.layers);
  const double weights = layers * layer_weights(c) + static_cast<double>(c.vocab * c.width);
  const double cache = layers * static_cast<double>(2 * past * c.kv_heads * c.head_dim);
  return static_cast<double>(size_of(dtype)) * (weights + cache);
}

}  // namespace pllava
