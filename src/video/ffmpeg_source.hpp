// A video file, stream or camera, decoded by FFmpeg.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "demuxer.hpp"
#include "source.hpp"

namespace pllava::detail {

/// Opens `address`, a file name, URL or device as avformat_open_input expects it. A seekable file
/// is indexed at once if options.fps is 0. Throws MediaError, OutOfMemoryError.
std::unique_ptr<Video::Source> make_ffmpeg_source(std::string name, const VideoOptions& options,
                                                  MediaInput::Kind kind, std::string address);
/// Reads a file in memory.
std::unique_ptr<Video::Source> make_ffmpeg_source(
    std::string name, const VideoOptions& options,
    std::shared_ptr<const std::vector<std::byte>> bytes);

}  // namespace pllava::detail
