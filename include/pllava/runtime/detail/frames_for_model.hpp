// Adapts the number of frames of a clip to the model.
#pragma once

#include <vector>

#include "pllava/media/frame_sampling.hpp"
#include "pllava/media/image.hpp"

namespace pllava::detail {

/// The frames that the model encodes. A clip shorter than the model's repeats frames, as the
/// sampling rule does with a file of that length; a longer one is pooled over time.
inline std::vector<Frame> frames_for_model(const Clip& clip, Index model_frames) {
  const auto given = static_cast<Index>(clip.frames.size());
  if (given == 0) throw MediaError(clip.source, "a clip without frames");
  if (given >= model_frames) return clip.frames;
  std::vector<Frame> frames;
  for (const Index i : demo_indices(given, model_frames))
    frames.push_back(clip.frames[static_cast<std::size_t>(i)]);
  return frames;
}

}  // namespace pllava::detail
