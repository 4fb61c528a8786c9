// A video file, stream or camera, decoded by FFmpeg.
#pragma once

#include <memory>
#include <string>

#include "demuxer.hpp"
#include "source.hpp"

namespace pllava::detail {

/// Opens `address`, which is in FFmpeg's form. Files are indexed at once if options.fps is 0.
/// Throws MediaError, OutOfMemoryError.
std::unique_ptr<Video::Source> make_ffmpeg_source(std::string name, const VideoOptions& options,
                                                  MediaInput::Kind kind, std::string address);

}  // namespace pllava::detail
