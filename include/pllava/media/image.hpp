// Pictures and clips. A Frame either owns its pixels or borrows the caller's, which are copied only
// where a conversion needs it. Pixels lie in host memory, or, for the CUDA backend, in a GPU's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "pllava/config.hpp"
#include "pllava/error.hpp"

namespace pllava {

/// Order of the 8-bit channels of a pixel.
enum class PixelFormat : std::uint8_t { rgb, bgr, grey, rgba, bgra };

constexpr Index channels_of(PixelFormat f) noexcept {
  return f == PixelFormat::grey ? 1 : f == PixelFormat::rgb || f == PixelFormat::bgr ? 3 : 4;
}

namespace cuda {
struct DevicePixels;  // pixels in a GPU's memory, see cuda.hpp
}

/// One picture of a video: 8 bits a channel, rows `stride` bytes apart.
struct Frame {
  const std::uint8_t* data = nullptr;
  Index width = 0;
  Index height = 0;
  Index stride = 0;  ///< bytes from one row to the next, at least width · channels
  PixelFormat format = PixelFormat::rgb;
  double time = 0.0;                  ///< presentation time in seconds, from the start of the video
  Index index = 0;                    ///< number of the frame in its video, from 0
  std::shared_ptr<const void> owner;  ///< keeps the pixels alive; null when they are borrowed
  /// Where the pixels are in a GPU's memory (cuda::borrow); `data`, `stride` and `format` then mean
  /// nothing, and all but the CUDA backend throw MediaError for the frame.
  std::shared_ptr<const cuda::DevicePixels> device;

  /// A frame over the caller's pixels, which must outlive it. `stride` 0 means densely packed.
  /// Throws MediaError for a null pointer, a non-positive size or a stride shorter than a row.
  static Frame borrow(const std::uint8_t* data, Index width, Index height,
                      PixelFormat format = PixelFormat::rgb, Index stride = 0);

  /// A frame that owns densely packed pixels (height · width · channels bytes).
  /// Throws MediaError if the size does not match.
  static Frame own(std::vector<std::uint8_t> pixels, Index width, Index height,
                   PixelFormat format = PixelFormat::rgb);
};

/// This frame as densely packed RGB: itself where it already is, a converted copy otherwise.
/// Grey is repeated to three channels; alpha is dropped.
Frame to_rgb(const Frame& frame);

/// Whether two frames are views of the same pixels in memory.
inline bool same_image(const Frame& a, const Frame& b) noexcept {
  return a.data == b.data && a.width == b.width && a.height == b.height && a.stride == b.stride &&
         a.format == b.format && a.device == b.device;
}

/// The frames of one video, in the order the model sees them.
struct Clip {
  std::vector<Frame> frames;
  std::string source;      ///< file name or what the caller likes, for messages and reports
  double fps = 0.0;        ///< average rate of the video, 0 if unknown
  Index total_frames = 0;  ///< frames in the whole video, 0 if unknown
};

}  // namespace pllava

#ifndef PLLAVA_COMPILED
#include "pllava/media/detail/image_inl.hpp"
#endif
