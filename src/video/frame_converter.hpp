// Converts decoded frames to RGB.
#pragma once

#include <string>

#include "ffmpeg_handles.hpp"
#include "orientation.hpp"
#include "pllava/media/image.hpp"

namespace pllava::detail {

class FrameConverter {
 public:
  /// The frame as RGB with the orientation applied. The conversion and its defaults are those of
  /// FFmpeg's filter format=rgb24. Throws MediaError naming `source`, OutOfMemoryError.
  Frame to_rgb(const AVFrame& in, const Orientation& orientation, const std::string& source);

 private:
  void prepare_scaler(const AVFrame& in, const std::string& source);

  FfmpegHandle<SwsContext> scaler_;
};

}  // namespace pllava::detail
