#include "decoded_source.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

namespace pllava::detail {

namespace {

/// The first of the aspect ratios that is given; 1 if none is, or it is not plausible.
double pixel_aspect(const AVRational& first, const AVRational& second) {
  constexpr double kMost = 16.0;
  const AVRational& given = first.num > 0 && first.den > 0 ? first : second;
  if (given.num <= 0 || given.den <= 0) return 1.0;
  const double aspect = av_q2d(given);
  return aspect > 1.0 / kMost && aspect < kMost ? aspect : 1.0;
}

}  // namespace

DecodedSource::DecodedSource(std::unique_ptr<MediaInput> input,
                             std::unique_ptr<FrameDecoder> decoder)
    : Source(input->name, input->options),
      input_(std::move(input)),
      decoder_(std::move(decoder)),
      orientation_(options_.apply_orientation ? Orientation::of(decoder_->demuxer().stream())
                                              : Orientation{}) {
  describe();
}

void DecodedSource::describe() {
  const Demuxer& demuxer = decoder_->demuxer();
  const AVStream& stream = demuxer.stream();
  const AVCodecParameters& parameters = *stream.codecpar;
  info_.pixel_aspect = pixel_aspect(stream.sample_aspect_ratio, parameters.sample_aspect_ratio);
  info_.width = display_width(parameters.width, parameters.height);
  info_.height = parameters.height;
  if (orientation_.transpose) std::swap(info_.width, info_.height);
  info_.fps = demuxer.frame_rate();
  info_.duration = demuxer.duration();
  info_.codec = avcodec_get_name(parameters.codec_id);
  info_.rotation = Orientation::of(stream).degrees();
  if (const std::string others = demuxer.other_video_streams(); !others.empty())
    info_.warnings.push_back(others);
}

/// Width of a frame of the stream in square pixels, if they are wanted.
Index DecodedSource::display_width(int width, int height) const {
  if (!options_.square_pixels || info_.pixel_aspect == 1.0) return width;
  const Index scaled = std::max<Index>(std::llround(width * info_.pixel_aspect), 1);
  input_->check_size(scaled, height);
  return scaled;
}

Timeline DecodedSource::new_timeline() const {
  const Demuxer& demuxer = decoder_->demuxer();
  return {av_q2d(demuxer.stream().time_base), demuxer.frame_interval(), demuxer.clock_may_jump()};
}

Frame DecodedSource::convert(const AVFrame& decoded, Index number, double time) {
  Frame frame = converter_.to_rgb(decoded, orientation_, name_,
                                  static_cast<int>(display_width(decoded.width, decoded.height)));
  frame.index = number;
  frame.time = time;
  return frame;
}

}  // namespace pllava::detail
