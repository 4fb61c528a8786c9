// Samples of GStreamer's appsink as RawImage. Include it after <gst/gst.h> and <gst/video/video.h>.
#pragma once

#include <limits>
#include <memory>
#include <string>

#include "pllava/media/raw_image.hpp"

#ifdef GST_VIDEO_FRAME_WIDTH  // a macro of gst/video/video.h

namespace pllava {

/// Formats RGB, BGR, RGBA, BGRA, GRAY8, NV12 and YUY2. Nothing is copied: the image holds the
/// sample and its mapped buffer. The time is the buffer's PTS. `sample` stays the caller's. Throws
/// MediaError: no sample, another format, a buffer that cannot be mapped.
inline RawImage raw_image(GstSample* sample) {
  GstVideoInfo info;
  if (sample == nullptr || gst_sample_get_caps(sample) == nullptr ||
      !gst_video_info_from_caps(&info, gst_sample_get_caps(sample)))
    throw MediaError("", "a sample without video caps");
  RawImage image;
  switch (GST_VIDEO_INFO_FORMAT(&info)) {
    case GST_VIDEO_FORMAT_RGB: image.layout = PixelLayout::rgb; break;
    case GST_VIDEO_FORMAT_BGR: image.layout = PixelLayout::bgr; break;
    case GST_VIDEO_FORMAT_RGBA: image.layout = PixelLayout::rgba; break;
    case GST_VIDEO_FORMAT_BGRA: image.layout = PixelLayout::bgra; break;
    case GST_VIDEO_FORMAT_GRAY8: image.layout = PixelLayout::grey; break;
    case GST_VIDEO_FORMAT_NV12: image.layout = PixelLayout::nv12; break;
    case GST_VIDEO_FORMAT_YUY2: image.layout = PixelLayout::yuyv; break;
    default:
      throw MediaError("", std::string("a sample in the format ") +
                               gst_video_format_to_string(GST_VIDEO_INFO_FORMAT(&info)) +
                               "; expected RGB, BGR, RGBA, BGRA, GRAY8, NV12 or YUY2");
  }
  struct Mapped {
    GstSample* sample = nullptr;
    GstVideoFrame frame{};
    ~Mapped() {
      if (sample == nullptr) return;
      gst_video_frame_unmap(&frame);
      gst_sample_unref(sample);
    }
  };
  const auto mapped = std::make_shared<Mapped>();
  GstBuffer* const buffer = gst_sample_get_buffer(sample);
  if (buffer == nullptr || !gst_video_frame_map(&mapped->frame, &info, buffer, GST_MAP_READ))
    throw MediaError("", "the buffer of a sample cannot be mapped");
  mapped->sample = gst_sample_ref(sample);
  image.width = GST_VIDEO_INFO_WIDTH(&info);
  image.height = GST_VIDEO_INFO_HEIGHT(&info);
  image.pixels = {GST_VIDEO_FRAME_PLANE_DATA(&mapped->frame, 0),
                  GST_VIDEO_FRAME_PLANE_STRIDE(&mapped->frame, 0)};
  if (image.layout == PixelLayout::nv12)
    image.chroma = {GST_VIDEO_FRAME_PLANE_DATA(&mapped->frame, 1),
                    GST_VIDEO_FRAME_PLANE_STRIDE(&mapped->frame, 1)};
  if (GST_BUFFER_PTS_IS_VALID(buffer))
    image.time = static_cast<double>(GST_BUFFER_PTS(buffer)) / static_cast<double>(GST_SECOND);
  image.owner = mapped;
  return image;
}

}  // namespace pllava

#endif
