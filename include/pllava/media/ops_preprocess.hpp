// The operation `preprocess`: frames to pixel values in a backend's memory.
#pragma once

#include <span>
#include <vector>

#include "pllava/core/ops.hpp"
#include "pllava/media/preprocess.hpp"

namespace pllava::ops {

/// pixels (T, 3, S, S) f32 = preprocessed frames of any size. Throws MediaError.
template <Backend B>
void preprocess(B& be, View pixels, std::span<const Frame> frames, const PreprocessConfig& config) {
  const Shape expected{static_cast<Index>(frames.size()), 3, config.image_size, config.image_size};
  if (pixels.shape != expected) detail::throw_shape("preprocess", expected.str(), pixels);
  if constexpr (requires { be.preprocess(pixels, frames, config); }) {
    be.preprocess(pixels, frames, config);
  } else {
    std::vector<float> host(static_cast<std::size_t>(expected.count()));
    pllava::preprocess(frames, host.data(), config);
    be.upload(pixels, host.data());
  }
}

}  // namespace pllava::ops
