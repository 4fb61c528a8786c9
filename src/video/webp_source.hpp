// An animated WebP file as a video. FFmpeg decodes its pictures, but not the animation.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "source.hpp"

namespace pllava::detail {

/// Frames with the timing of the file, over white. Throws MediaError for a file without a frame or
/// with frames outside of the canvas, or a canvas above VideoOptions::max_pixels.
std::unique_ptr<Video::Source> make_webp_source(std::string name, const VideoOptions& options,
                                                std::shared_ptr<const std::vector<std::byte>> file);

}  // namespace pllava::detail
