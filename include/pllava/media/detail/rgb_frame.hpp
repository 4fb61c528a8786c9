// Validation and allocation of frames.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <string>
#include <utility>

#include "pllava/media/image.hpp"

namespace pllava::detail {

/// Largest width and height: keeps products of sizes within 64 bits.
inline constexpr Index kMaxSide = Index{1} << 24;
/// Largest number of bytes between two rows.
inline constexpr Index kMaxStride = Index{1} << 32;

/// Throws MediaError for sides below 1 or above kMaxSide.
inline void check_sides(Index width, Index height) {
  if (width < 1 || height < 1 || width > kMaxSide || height > kMaxSide)
    throw MediaError("", "a frame of " + std::to_string(width) + "x" + std::to_string(height) +
                             " pixels; expected sides from 1 to " + std::to_string(kMaxSide));
}

/// Throws MediaError unless `frame` describes pixels that the host can read.
inline void check_frame(const Frame& frame) {
  const std::string size = std::to_string(frame.width) + "x" + std::to_string(frame.height);
  if (frame.device != nullptr)
    throw MediaError("", "a frame in a GPU's memory (" + size +
                             "); expected one in host memory, or the CUDA backend");
  if (frame.data == nullptr) throw MediaError("", "a frame without pixels (" + size + ")");
  check_sides(frame.width, frame.height);
  const Index row = frame.width * channels_of(frame.format);
  if (frame.stride < row || frame.stride > kMaxStride)
    throw MediaError("", "rows of a " + size + " frame are " + std::to_string(frame.stride) +
                             " bytes apart; expected at least " + std::to_string(row));
}

/// Allocates a dense RGB frame. `pixels` receives the address of its pixels, which the caller fills
/// in.
inline Frame make_rgb_frame(Index width, Index height, std::uint8_t*& pixels) {
  const auto bytes = static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * 3;
  Frame frame;
  try {
    std::shared_ptr<std::uint8_t[]> buffer(new std::uint8_t[bytes]);
    pixels = buffer.get();
    frame.owner = std::move(buffer);
  } catch (const std::bad_alloc&) {
    throw OutOfMemoryError("an image of " + std::to_string(width) + "x" + std::to_string(height),
                           bytes);
  }
  frame.data = pixels;
  frame.width = width;
  frame.height = height;
  frame.stride = width * 3;
  return frame;
}

}  // namespace pllava::detail
