// The operations and bytes that a model needs, whatever the implementation. Divided by the peak
// rates of a machine, they give a lower bound of the time (a roofline).
#pragma once

#include "pllava/core/dtype.hpp"
#include "pllava/core/quantization.hpp"
#include "pllava/models/model_config.hpp"

namespace pllava {

/// A multiplication with an addition counts as two operations.
struct Work {
  double flops = 0;     ///< floating-point operations in the type of the computation
  double int8_ops = 0;  ///< operations of 8-bit activations with 8-bit weights
  double int4_ops = 0;  ///< operations of 8-bit activations with 4-bit weights
  double bytes = 0;     ///< read from memory, for work that memory bandwidth bounds

  friend Work operator+(Work a, const Work& b) noexcept {
    a.flops += b.flops;
    a.int8_ops += b.int8_ops;
    a.int4_ops += b.int4_ops;
    a.bytes += b.bytes;
    return a;
  }
};

/// Peak rates of a machine, per second.
using Ceiling = Work;

/// Lower bound of the time in seconds. Kinds of work that are zero need no ceiling.
inline double floor_seconds(const Work& work, const Ceiling& ceiling) noexcept {
  const auto part = [](double amount, double rate) { return amount > 0 ? amount / rate : 0; };
  return part(work.flops, ceiling.flops) + part(work.int8_ops, ceiling.int8_ops) +
         part(work.int4_ops, ceiling.int4_ops) + part(work.bytes, ceiling.bytes);
}

/// A matrix product of this many operations with weights of this format.
inline Work product_work(double operations, const Quantization& q) noexcept {
  if (q.format == WeightFormat::unquantized) return {.flops = operations};
  if (q.format == WeightFormat::int4) return {.int4_ops = operations};
  return {.int8_ops = operations};
}

/// Work of the used layers of the vision encoder over `frames` frames.
inline Work vision_work(const VisionConfig& c, Index frames, const Quantization& q = {}) {
  const auto rows = static_cast<double>(frames * c.frame_rows());
  const auto d = static_cast<double>(c.width), f = static_cast<double>(c.ffn);
  const auto layers = static_cast<double>(c.used_layers());
  const Work attention{.flops = layers * 4 * rows * static_cast<double>(c.frame_rows()) * d};
  return product_work(layers * 2 * rows * (4 * d * d + 2 * d * f), q) + attention;
}

/// Work of linear_1 over all patches and linear_2 over the pooled rows.
inline Work projector_work(const ProjectorConfig& c, Index patches, Index pooled,
                           const Quantization& q = {}) {
  return product_work(static_cast<double>(2 * c.output * (patches * c.input + pooled * c.output)),
                      q);
}

/// Number of weights of one decoder layer.
inline double layer_weights(const TextConfig& c) {
  const Index attention = c.width * c.head_dim * (2 * c.heads + 2 * c.kv_heads);
  return static_cast<double>(attention + 3 * c.width * c.ffn);
}

/// Work of a prefill of `rows` rows after `past`, with the logits of the last row. In the last
/// layer, the other rows stop after their keys and values.
inline Work prefill_work(const TextConfig& c, Index rows, Index past = 0,
                         const Quantization& q = {}) {
  const auto n = static_cast<double>(rows), seen = static_cast<double>(past) + n / 2;
  const auto whole = static_cast<double>(c.layers - 1);
  const auto qkv = static_cast<double>(c.width * c.head_dim * (c.heads + 2 * c.kv_heads));
  const Work attention{.flops = whole * 4 * n * seen * static_cast<double>(c.heads * c.head_dim)};
  const double products = 2 * n * (whole * layer_weights(c) + qkv);
  return product_work(products + 2 * static_cast<double>(c.vocab * c.width), q) + attention;
}

/// Work of one decode step after `past` rows: all weights, keys and values are read once. With
/// `int8_kv`, keys and values have 8 bits and one scale per position and head.
inline Work decode_work(const TextConfig& c, Index past, DType dtype, const Quantization& q = {},
                        bool int8_kv = false) {
  const auto layers = static_cast<double>(c.layers);
  const double unquantized = 8 * static_cast<double>(size_of(dtype));  // bits
  const double head = q.format == WeightFormat::unquantized ? unquantized : 8;
  const double bits = layers * layer_weights(c) * bits_per_weight(q, dtype) +
                      head * static_cast<double>(c.vocab * c.width);
  const double element = int8_kv ? 8 + 32 / static_cast<double>(c.head_dim) : unquantized;
  const double cache = element * layers * static_cast<double>(2 * past * c.kv_heads * c.head_dim);
  return {.bytes = (bits + cache) / 8};
}

}  // namespace pllava
