// A video that was encoded, with the session for its questions.
#pragma once

#include <string>
#include <vector>

#include "model.hpp"
#include "pllava/runtime/session.hpp"

namespace cli {

struct Watched {
  std::string video;  ///< display_name
  std::vector<Index> frame_indices;
  std::vector<double> frame_times;  ///< seconds
  Index total_frames = 0;           ///< of the whole video, 0 if unknown
  std::vector<std::string> warnings;
  Index video_rows = 0;  ///< rows of the video in the context
  double load_ms = 0, decode_ms = 0;
  pllava::Session session;
};

pllava::WatchOptions watch_options(const Context& context);

/// Samples the video and encodes it.
Watched watch(const Context& context, const LoadedModel& model, const std::string& video);

}  // namespace cli
