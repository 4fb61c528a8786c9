// Bodies of image.hpp.
#pragma once

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

#include "pllava/media/image.hpp"

namespace pllava {
namespace detail {

/// Largest side of a picture: keeps every product of sizes inside 64 bits.
inline constexpr Index kMaxSide = Index{1} << 24;

/// Throws MediaError unless `frame` describes pixels that the host can read.
PLLAVA_INLINE void check_frame(const Frame& frame) {
  const std::string size = std::to_string(frame.width) + "x" + std::to_string(frame.height);
  if (frame.device != nullptr)
    throw MediaError("", "a frame in a GPU's memory (" + size +
                             "); expected one in host memory, or the CUDA backend");
  if (frame.data == nullptr) throw MediaError("", "a frame without pixels (" + size + ")");
  if (frame.width < 1 || frame.height < 1 || frame.width > kMaxSide || frame.height > kMaxSide)
    throw MediaError(
        "", "a frame of " + size + " pixels; expected sides from 1 to " + std::to_string(kMaxSide));
  const Index row = frame.width * channels_of(frame.format);
  if (frame.stride < row)
    throw MediaError("", "rows of a " + size + " frame are " + std::to_string(frame.stride) +
                             " bytes apart; expected at least " + std::to_string(row));
}

/// A dense RGB frame of this size with its pixels to fill in. `pixels` receives their address.
PLLAVA_INLINE Frame new_rgb_frame(Index width, Index height, std::uint8_t*& pixels) {
  const auto bytes = static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * 3;
  Frame frame;
  try {
    std::shared_ptr<std::uint8_t[]> buffer(new std::uint8_t[bytes]);
    pixels = buffer.get();
    frame.owner = std::move(buffer);
  } catch (const std::bad_alloc&) {
    throw OutOfMemoryError("a picture of " + std::to_string(width) + "x" + std::to_string(height),
                           bytes);
  }
  frame.data = pixels;
  frame.width = width;
  frame.height = height;
  frame.stride = width * 3;
  return frame;
}

}  // namespace detail

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

PLLAVA_INLINE Frame Frame::own(std::vector<std::uint8_t> pixels, Index width, Index height,
                               PixelFormat format) {
  auto owner = std::make_shared<const std::vector<std::uint8_t>>(std::move(pixels));
  // An empty vector has no address to borrow; the size check below then names the real problem.
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
  if (frame.format == PixelFormat::rgb && frame.stride == frame.width * 3) return frame;

  std::uint8_t* out = nullptr;
  Frame rgb = detail::new_rgb_frame(frame.width, frame.height, out);
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
