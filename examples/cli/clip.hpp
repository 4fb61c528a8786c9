// The frames of the video that the options name.
#pragma once

#include <string>

#include "context.hpp"
#include "pllava/media/image.hpp"

namespace cli {

/// Samples `frames` frames as the options say. Throws MediaError, CancelledError.
pllava::Clip sample_clip(const Context& context, const std::string& video, Index frames);

}  // namespace cli
