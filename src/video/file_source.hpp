// A source that can be read again from its start: a file, also in memory or on a server.
#pragma once

#include <memory>

#include "frame_decoder.hpp"
#include "source.hpp"

namespace pllava::detail {

/// `decoder` reads from `input` and is seekable. A local file is indexed at once if
/// VideoOptions::fps is 0. Throws MediaError.
std::unique_ptr<Video::Source> make_file_source(std::unique_ptr<MediaInput> input,
                                                std::unique_ptr<FrameDecoder> decoder);

}  // namespace pllava::detail
