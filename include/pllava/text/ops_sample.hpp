// The verb `sample`: from logits to the next token id, both in backend memory.
#pragma once

#include <cstdint>
#include <vector>

#include "pllava/core/ops.hpp"
#include "pllava/text/sampling.hpp"

namespace pllava::ops {

/// Samples the next token. Writes its id to `id` (1) i32 in backend memory, for the next decode
/// step, and returns it. logits: (1, V) f32, which the backend may overwrite. Throws like
/// Sampler::sample.
template <Backend B>
std::int32_t sample(B& be, View id, View logits, Sampler& sampler) {
  if (id.shape.count() != 1 || id.dtype != DType::i32)
    detail::throw_shape("sample id", "(1) i32", id);
  if constexpr (requires { be.sample(id, logits, sampler); }) {
    return be.sample(id, logits, sampler);
  } else {
    std::vector<float> host(static_cast<std::size_t>(logits.shape.count()));
    be.download(host.data(), logits);
    const std::int32_t chosen = sampler.sample(host);
    be.upload(id, &chosen);
    return chosen;
  }
}

}  // namespace pllava::ops
