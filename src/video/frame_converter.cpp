#include "frame_converter.hpp"

#include <cstdint>
#include <memory>

extern "C" {
#include <libavutil/pixdesc.h>
}

#include "over_white.hpp"
#include "pllava/error.hpp"

namespace pllava::detail {

namespace {

bool has_alpha(const AVFrame& frame) {
  const AVPixFmtDescriptor* format = av_pix_fmt_desc_get(static_cast<AVPixelFormat>(frame.format));
  return format != nullptr && (format->flags & AV_PIX_FMT_FLAG_ALPHA) != 0;
}

}  // namespace

void FrameConverter::prepare_scaler(const AVFrame& in, const AVFrame& out,
                                    const std::string& source) {
  const auto format = static_cast<AVPixelFormat>(in.format);
  scaler_.reset(sws_getCachedContext(scaler_.release(), in.width, in.height, format, out.width,
                                     out.height, static_cast<AVPixelFormat>(out.format),
                                     SWS_BICUBIC, nullptr, nullptr, nullptr));
  if (!scaler_) {
    const char* name = av_get_pix_fmt_name(format);
    throw MediaError(source, std::string("the pixel format cannot be converted to RGB (") +
                                 (name != nullptr ? name : "unknown") + ")");
  }
  int* in_table = nullptr;
  int* out_table = nullptr;
  int in_range = 0;
  int out_range = 0;
  int brightness = 0;
  int contrast = 0;
  int saturation = 0;
  if (sws_getColorspaceDetails(scaler_.get(), &in_table, &in_range, &out_table, &out_range,
                               &brightness, &contrast, &saturation) < 0)
    return;
  if (in.color_range != AVCOL_RANGE_UNSPECIFIED) in_range = in.color_range == AVCOL_RANGE_JPEG;
  sws_setColorspaceDetails(scaler_.get(), sws_getCoefficients(in.colorspace), in_range, out_table,
                           out_range, brightness, contrast, saturation);
}

Frame FrameConverter::to_rgb(const AVFrame& in, const Orientation& orientation,
                             const std::string& source, int width) {
  const bool hdr = is_high_dynamic_range(in);
  const AVPixelFormat format = hdr             ? AV_PIX_FMT_RGB48
                               : has_alpha(in) ? AV_PIX_FMT_RGBA
                                               : AV_PIX_FMT_RGB24;
  // The buffer is FFmpeg's: its converters write whole vectors past the end of a row.
  const std::shared_ptr<AVFrame> out(av_frame_alloc(), FfmpegDeleter{});
  if (!out) throw OutOfMemoryError("a frame of " + source, sizeof(AVFrame));
  out->format = format;
  out->width = width > 0 ? width : in.width;
  out->height = in.height;
  const auto bytes =
      static_cast<std::uint64_t>(out->width) * static_cast<std::uint64_t>(out->height) * 6;
  prepare_scaler(in, *out, source);
  if (av_frame_get_buffer(out.get(), 0) < 0) throw OutOfMemoryError("a frame of " + source, bytes);
  if (sws_scale(scaler_.get(), in.data, in.linesize, 0, in.height, out->data, out->linesize) <= 0)
    throw MediaError(source, "a frame cannot be converted to RGB");

  Frame frame;
  if (hdr) {
    if (!tone_mapper_ || !tone_mapper_->fits(in)) tone_mapper_.emplace(in);
    frame = tone_mapper_->map(*out);
  } else if (format == AV_PIX_FMT_RGBA) {
    frame = over_white(out->data[0], out->width, out->height, out->linesize[0]);
  } else {
    frame =
        Frame::borrow(out->data[0], out->width, out->height, PixelFormat::rgb, out->linesize[0]);
    frame.owner = out;
  }
  return orientation.identity() ? frame : orientation.apply(frame);
}

}  // namespace pllava::detail
