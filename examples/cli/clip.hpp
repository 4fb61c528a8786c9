// Samples the frames of a video.
#pragma once

#include <string>

#include "context.hpp"
#include "pllava/media/preprocess.hpp"

namespace cli {

/// The video's name for output, without passwords and other secrets of a URL.
std::string display_name(const std::string& video);

/// Samples `frames` frames according to the clip options. Large frames are cropped by `config`.
/// Writes warnings to stderr. Throws MediaError, CancelledError.
pllava::Clip sample_clip(const Context& context, const std::string& video, Index frames,
                         const pllava::PreprocessConfig& config);

}  // namespace cli
