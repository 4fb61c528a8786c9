// How much work a model is: operations and bytes that no implementation can do without. Over what a
// machine can do at most, they are the floor of the time.
#pragma once

#include "pllava/core/dtype.hpp"
#include "pllava/core/quantization.hpp"
#include "pllava/models/model_config.hpp"

namespace pllava {

/// A multiplication with an addition counts as two operations.
struct Work {
  double flops = 0;     ///< operations in the type of the computation
  double integers = 0;  ///< operations on 8-bit integers
  double nibbles = 0;   ///< operations of 8-bit integers with those of 4 bits
  double bytes = 0;     ///< read from memory, where that is what takes the time

  friend Work operator+(Work a, const Work& b) noexcept {
    a.flops += b.flops;
    a.integers += b.integers;
    a.nibbles += b.nibbles;
    a.bytes += b.bytes;
    return a;
  }
};

/// The most that a machine does in a second.
using Ceiling = Work;

/// The least time that the work takes. Kinds of work that are zero need no ceiling.
inline double floor_seconds(const Work& work, const Ceiling& ceiling) noexcept {
  const auto part = [](double amount, double most) { return amount > 0 ? amount / most : 0; };
  return part(work.flops, ceiling.flops) + part(work.integers, ceiling.integers) +
         part(work.nibbles, ceiling.nibbles) + part(work.bytes, ceiling.bytes);
}

/// A matrix product of so many operations with weights of this format.
inline Work product_work(double operations, const Quantization& q) noexcept {
  if (q.format == WeightFormat::unquantized) return {.flops = operations};
  if (q.format == WeightFormat::int4) return {.nibbles = operations};
  return {.integers = operations};
}

/// Of the vision encoder over `frames` frames: the layers that are used.
inline Work vision_work(const VisionConfig& c, Index frames, const Quantization& q = {}) {
  const auto rows = static_cast<double>(frames * (c.patches() + 1));
  const auto d = static_cast<double>(c.width), f = static_cast<double>(c.ffn);
  const auto layers = static_cast<double>(c.used_layers());
  const Work attention{.flops = layers * 4 * rows * static_cast<double>(c.patches() + 1) * d};
  return product_work(layers * 2 * rows * (4 * d * d + 2 * d * f), q) + attention;
}

/// Of linear_1 over all patches and linear_2 over the pooled rows.
inline Work projector_work(const ProjectorConfig& c, Index patches, Index pooled,
                           const Quantization& q = {}) {
  return product_work(static_cast<double>(2 * c.output * (patches * c.input + pooled * c.output)),
                      q);
}

/// Weights of one decoder layer.
inline double layer_weights(const TextConfig& c) {
  const Index attention = c.width * c.head_dim * (2 * c.heads + 2 * c.kv_heads);
  return static_cast<double>(attention + 3 * c.width * c.ffn);
}

/// Of a prefill of `rows` rows after `past`, the logits of the last row included. In the last layer
/// only that row goes beyond its keys and values.
inline Work prefill_work(const TextConfig& c, Index rows, Index past = 0,
                         const Quantization& q = {}) {
  const auto n = static_cast<double>(rows), seen = static_cast<double>(past) + n / 2;
  const auto whole = static_cast<double>(c.layers - 1);
  const auto qkv = static_cast<double>(c.width * c.head_dim * (c.heads + 2 * c.kv_heads));
  const Work attention{.flops = whole * 4 * n * seen * static_cast<double>(c.heads * c.head_dim)};
  const double products = 2 * n * (whole * layer_weights(c) + qkv);
  return product_work(products + 2 * static_cast<double>(c.vocab * c.width), q) + attention;
}

/// Of one decode step after `past` rows: every weight is read once, and all keys and values, which
/// have 8 bits and a scale for each row of a head with `int8_kv`.
inline Work decode_work(const TextConfig& c, Index past, DType dtype, const Quantization& q = {},
                        bool int8_kv = false) {
  const auto layers = static_cast<double>(c.layers);
  const double plain = 8 * static_cast<double>(size_of(dtype));  // bits
  const double head = q.format == WeightFormat::unquantized ? plain : 8;
  const double bits = layers * layer_weights(c) * bits_per_weight(q, dtype) +
                      head * static_cast<double>(c.vocab * c.width);
  const double element = int8_kv ? 8 + 32 / static_cast<double>(c.head_dim) : plain;
  const double cache = element * layers * static_cast<double>(2 * past * c.kv_heads * c.head_dim);
  return {.bytes = (bits + cache) / 8};
}

}  // namespace pllava
