// Samples the frames of a video.
#pragma once

#include <string>

#include "context.hpp"
#include "pllava/media/preprocess.hpp"
#include "pllava/media/video.hpp"

namespace cli {

/// The video's name for output, without passwords and other secrets of a URL.
std::string display_name(const std::string& video);

#ifdef PLLAVA_HAS_VIDEO
/// How the command line asks to read a source.
pllava::VideoOptions video_options(const Context& context);
#endif

/// Samples `frames` frames according to the clip options. Large frames are cropped by `config`.
/// Writes warnings to stderr. Throws MediaError, CancelledError.
pllava::Clip sample_clip(const Context& context, const std::string& video, Index frames,
                         const pllava::PreprocessConfig& config);

}  // namespace cli
