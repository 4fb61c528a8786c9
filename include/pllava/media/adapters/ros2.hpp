// Images of ROS 2 as RawImage. Does not include ROS: the template takes sensor_msgs::msg::Image, or
// any type with its members.
#pragma once

#include <bit>
#include <cstddef>
#include <memory>
#include <string>
#include <utility>

#include "pllava/media/raw_image.hpp"

namespace pllava {

/// Encodings rgb8, bgr8, rgba8, bgra8, mono8, 8UC1, 8UC3 (as bgr8), mono16 and 16UC1, nv12,
/// yuv422_yuy2 and yuyv. Nothing is copied: the image holds the message. The time is header.stamp.
/// Throws MediaError: no message, another encoding, too few bytes, mono16 in the other byte order.
template <class Message>
RawImage raw_image(std::shared_ptr<const Message> message) {
  if (message == nullptr) throw MediaError("", "no image message");
  const std::string& encoding = message->encoding;
  RawImage image;
  if (encoding == "rgb8")
    image.layout = PixelLayout::rgb;
  else if (encoding == "bgr8" || encoding == "8UC3")
    image.layout = PixelLayout::bgr;
  else if (encoding == "rgba8")
    image.layout = PixelLayout::rgba;
  else if (encoding == "bgra8")
    image.layout = PixelLayout::bgra;
  else if (encoding == "mono8" || encoding == "8UC1")
    image.layout = PixelLayout::grey;
  else if (encoding == "mono16" || encoding == "16UC1")
    image.layout = PixelLayout::grey16;
  else if (encoding == "nv12")
    image.layout = PixelLayout::nv12;
  else if (encoding == "yuv422_yuy2" || encoding == "yuyv")
    image.layout = PixelLayout::yuyv;
  else
    throw MediaError("", "an image message with the encoding \"" + encoding +
                             "\"; expected rgb8, bgr8, rgba8, bgra8, mono8, mono16, 8UC1, 8UC3, "
                             "16UC1, nv12, yuv422_yuy2 or yuyv");
  const bool swapped = (message->is_bigendian != 0) != (std::endian::native == std::endian::big);
  if (image.layout == PixelLayout::grey16 && swapped)
    throw MediaError("", "an image message of 16-bit values in the byte order of another machine");
  image.width = static_cast<Index>(message->width);
  image.height = static_cast<Index>(message->height);
  const auto stride = static_cast<std::size_t>(message->step);
  const std::size_t rows =
      message->height + (image.layout == PixelLayout::nv12 ? (message->height + 1u) / 2 : 0u);
  if (message->data.size() < stride * rows)
    throw MediaError("", "an image message of " + std::to_string(message->data.size()) +
                             " bytes; expected " + std::to_string(stride * rows));
  image.pixels = {message->data.data(), static_cast<Index>(stride)};
  if (image.layout == PixelLayout::nv12)
    image.chroma = {message->data.data() + stride * message->height, static_cast<Index>(stride)};
  image.time = static_cast<double>(message->header.stamp.sec) +
               static_cast<double>(message->header.stamp.nanosec) * 1e-9;
  image.owner = std::move(message);
  require_valid(image);
  return image;
}

}  // namespace pllava
