// Decodes one image with FFmpeg.
#pragma once

#include <string>

#include "byte_reader.hpp"
#include "ffmpeg_handles.hpp"
#include "pllava/config.hpp"

namespace pllava::detail {

/// The image in `file`, in the decoder's pixel format. Throws MediaError naming `name`: FFmpeg has
/// no such decoder, or the image is damaged or too large; OutOfMemoryError.
FfmpegHandle<AVFrame> decode_still_image(Bytes file, AVCodecID codec, const std::string& name,
                                         Index max_pixels);

}  // namespace pllava::detail
