// Frames and clips. A Frame owns its pixels or borrows the caller's; borrowed pixels are copied
// only for a conversion. Pixels are in host memory or, for the CUDA backend, in GPU memory.
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
struct DevicePixels;  // pixels in GPU memory, see cuda.hpp
}

/// One image of a video: 8 bits per channel.
struct Frame {
  const std::uint8_t* data = nullptr;
  Index width = 0;
  Index height = 0;
  Index stride = 0;  ///< bytes between the starts of two rows, at least width · channels
  PixelFormat format = PixelFormat::rgb;
  double time = 0.0;                  ///< presentation time in seconds from the start of the video
  Index index = 0;                    ///< index in the video, from 0
  std::shared_ptr<const void> owner;  ///< keeps the pixels alive; null when they are borrowed
  /// Pixels in GPU memory (cuda::borrow). `data`, `stride` and `format` are then ignored, and only
  /// the CUDA backend accepts the frame; others throw MediaError.
  std::shared_ptr<const cuda::DevicePixels> device;

  /// A view of the caller's pixels, which must outlive the frame. `stride` 0: densely packed.
  /// Throws MediaError for a null pointer, a size below 1 or a stride shorter than a row.
  static Frame borrow(const std::uint8_t* data, Index width, Index height,
                      PixelFormat format = PixelFormat::rgb, Index stride = 0);

  /// A frame that owns a copy of the caller's pixels. Throws as `borrow`, OutOfMemoryError.
  static Frame copy(const std::uint8_t* data, Index width, Index height,
                    PixelFormat format = PixelFormat::rgb, Index stride = 0);

  /// A view of pixels that `owner` keeps alive, such as a buffer of a camera that is returned when
  /// the owner is destroyed. Throws as `borrow`, and MediaError for a null owner.
  static Frame share(std::shared_ptr<const void> owner, const std::uint8_t* data, Index width,
                     Index height, PixelFormat format = PixelFormat::rgb, Index stride = 0);

  /// A frame that owns densely packed pixels (height · width · channels bytes).
  /// Throws MediaError if the number of bytes does not match.
  static Frame own(std::vector<std::uint8_t> pixels, Index width, Index height,
                   PixelFormat format = PixelFormat::rgb);
};

/// Converts to densely packed RGB that the result owns; returns `frame` itself if it is that
/// already. Grey is repeated to three channels, alpha is dropped. Throws MediaError for a frame
/// without host pixels.
Frame to_rgb(const Frame& frame);

/// Whether two frames are views of the same pixels in memory.
inline bool same_image(const Frame& a, const Frame& b) noexcept {
  return a.data == b.data && a.width == b.width && a.height == b.height && a.stride == b.stride &&
         a.format == b.format && a.device == b.device;
}

/// The frames of one video, in the order the model sees them.
struct Clip {
  std::vector<Frame> frames = {};
  std::string source = {};                 ///< name for messages and reports, such as the file's
  double fps = 0.0;                        ///< average frame rate of the video, 0 if unknown
  Index total_frames = 0;                  ///< frame count of the whole video, 0 if unknown
  std::vector<std::string> warnings = {};  ///< VideoInfo::warnings
};

}  // namespace pllava

#ifndef PLLAVA_COMPILED
#include "pllava/media/detail/image_inl.hpp"
#endif
