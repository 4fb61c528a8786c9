// Frames that repeat their predecessor's pixels, as still images and short videos do, are processed
// once.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "pllava/media/image.hpp"

namespace pllava {

/// The frames of a clip without those that are views of the same pixels as the frame before.
struct DistinctFrames {
  explicit DistinctFrames(std::span<const Frame> all) {
    for (const Frame& frame : all) {
      if (frames.empty() || !same_image(frames.back(), frame)) frames.push_back(frame);
      index.push_back(frames.size() - 1);
    }
  }

  std::vector<Frame> frames;
  std::vector<std::size_t> index;  ///< frame t of the clip is frames[index[t]]
};

}  // namespace pllava
