// Sampling a short video repeats frames. Each run of repeated frames is processed once.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "pllava/media/image.hpp"

namespace pllava {

/// The frames of a clip without those that share the pixels of the previous frame.
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
