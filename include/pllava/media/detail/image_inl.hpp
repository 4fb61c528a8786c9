// Definitions of image.hpp.
#pragma once

#include <cstring>
#include <string>
#include <utility>

#include "pllava/media/detail/rgb_frame.hpp"
#include "pllava/media/image.hpp"

namespace pllava {
PLLAVA_INLINE Frame Frame::borrow(const std::uint8_t* data, Index width, Index height,
                                  PixelFormat format, Index stride) {
  Frame frame;
  frame.data = data;
  frame.width = width;
  frame.height = height;
  frame.format = format;
  frame.stride =
      stride == 0 && width > 0 && width <= detail::kMaxSide ? width * channels_of(format) : stride;
  detail::check_frame(frame);
  return frame;
}

PLLAVA_INLINE Frame Frame::copy(const std::uint8_t* data, Index width, Index height,
                                PixelFormat format, Index stride) {
  const Frame view = borrow(data, width, height, format, stride);
  const Index row = width * channels_of(format);
  std::vector<std::uint8_t> pixels;
  try {
    pixels.resize(static_cast<std::size_t>(row * height));
  } catch (const std::bad_alloc&) {
    throw OutOfMemoryError("a frame", static_cast<std::uint64_t>(row * height));
  }
  for (Index y = 0; y < height; ++y)
    std::memcpy(pixels.data() + y * row, view.data + y * view.stride,
                static_cast<std::size_t>(row));
  return own(std::move(pixels), width, height, format);
}

PLLAVA_INLINE Frame Frame::share(std::shared_ptr<const void> owner, const std::uint8_t* data,
                                 Index width, Index height, PixelFormat format, Index stride) {
  if (owner == nullptr) throw MediaError("", "a shared frame without an owner");
  Frame frame = borrow(data, width, height, format, stride);
  frame.owner = std::move(owner);
  return frame;
}

PLLAVA_INLINE Frame Frame::own(std::vector<std::uint8_t> pixels, Index width, Index height,
                               PixelFormat format) {
  auto owner = std::make_shared<const std::vector<std::uint8_t>>(std::move(pixels));
  // An empty vector has no address to borrow. The size check below reports it.
  static constexpr std::uint8_t kNone = 0;
  Frame frame = borrow(owner->empty() ? &kNone : owner->data(), width, height, format);
  const Index expected = frame.stride * height;
  if (static_cast<Index>(owner->size()) != expected)
    throw MediaError("", "a " + std::to_string(width) + "x" + std::to_string(height) +
                             " frame has " + std::to_string(expected) + " bytes; got " +
                             std::to_string(owner->size()));
  frame.owner = std::move(owner);
  return frame;
}

PLLAVA_INLINE Frame to_rgb(const Frame& frame) {
  detail::check_frame(frame);
  const bool is_dense_rgb = frame.format == PixelFormat::rgb && frame.stride == frame.width * 3;
  if (is_dense_rgb && frame.owner != nullptr) return frame;

  std::uint8_t* out = nullptr;
  Frame rgb = detail::make_rgb_frame(frame.width, frame.height, out);
  rgb.time = frame.time;
  rgb.index = frame.index;
  const Index step = channels_of(frame.format);
  const bool reversed = frame.format == PixelFormat::bgr || frame.format == PixelFormat::bgra;
  const bool grey = frame.format == PixelFormat::grey;
  const Index r = reversed ? 2 : 0;
  const Index g = grey ? 0 : 1;
  const Index b = grey || reversed ? 0 : 2;
  for (Index y = 0; y < frame.height; ++y) {
    const std::uint8_t* in = frame.data + y * frame.stride;
    if (frame.format == PixelFormat::rgb) {
      std::memcpy(out, in, static_cast<std::size_t>(rgb.stride));
      out += rgb.stride;
      continue;
    }
    for (Index x = 0; x < frame.width; ++x, in += step, out += 3) {
      out[0] = in[r];
      out[1] = in[g];
      out[2] = in[b];
    }
  }
  return rgb;
}

}  // namespace pllava
