// What files and live sources that FFmpeg decodes have in common.
#pragma once

#include "frame_converter.hpp"
#include "frame_decoder.hpp"
#include "orientation.hpp"
#include "source.hpp"
#include "timeline.hpp"

namespace pllava::detail {

class DecodedSource : public Video::Source {
 public:
  /// `decoder` reads from `input`.
  DecodedSource(std::unique_ptr<MediaInput> input, std::unique_ptr<FrameDecoder> decoder);

  bool seekable() const noexcept override { return decoder_->seekable(); }

 protected:
  /// The decoded frame as RGB.
  Frame convert(const AVFrame& decoded, Index number, double time);
  Timeline new_timeline() const;

  std::unique_ptr<MediaInput> input_;
  std::unique_ptr<FrameDecoder> decoder_;

 private:
  void describe();
  Index display_width(int width, int height) const;

  FrameConverter converter_;
  Orientation orientation_;
};

}  // namespace pllava::detail
