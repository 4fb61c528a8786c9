// A source that sends its frames once: a camera or a live stream.
#pragma once

#include <memory>

#include "frame_decoder.hpp"
#include "source.hpp"

namespace pllava::detail {

/// `decoder` reads from `input`.
std::unique_ptr<Video::Source> make_live_source(std::unique_ptr<MediaInput> input,
                                                std::unique_ptr<FrameDecoder> decoder);

}  // namespace pllava::detail
