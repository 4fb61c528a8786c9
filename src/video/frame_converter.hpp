// Converts decoded frames to RGB.
#pragma once

#include <optional>
#include <string>

#include "ffmpeg_handles.hpp"
#include "orientation.hpp"
#include "pllava/media/image.hpp"
#include "tone_mapping.hpp"

namespace pllava::detail {

class FrameConverter {
 public:
  /// The frame as RGB with the orientation applied; transparent pixels are over white, and high
  /// dynamic range (PQ, HLG) is mapped to sRGB. The conversion and its defaults are those of
  /// FFmpeg's filter format=rgb24. `width`: scaled to it
  /// before the orientation is applied; 0 for the frame's own width. Throws MediaError naming
  /// `source`, OutOfMemoryError.
  Frame to_rgb(const AVFrame& in, const Orientation& orientation, const std::string& source,
               int width = 0);

 private:
  /// For frames like `in` to the size and pixel format of `out`.
  void prepare_scaler(const AVFrame& in, const AVFrame& out, const std::string& source);

  FfmpegHandle<SwsContext> scaler_;
  std::optional<ToneMapper> tone_mapper_;  // of the last high dynamic range
};

}  // namespace pllava::detail
