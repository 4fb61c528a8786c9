// Samples the frames of a video.
#pragma once

#include <string>

#include "context.hpp"
#include "pllava/media/image.hpp"

namespace cli {

/// Samples `frames` frames according to --sampling, --start and --end. Throws MediaError,
/// CancelledError.
pllava::Clip sample_clip(const Context& context, const std::string& video, Index frames);

}  // namespace cli
