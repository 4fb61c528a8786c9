// One picture of a camera or a decoder in host memory, in its own pixel layout.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>

#include "pllava/media/image.hpp"
#include "pllava/media/raw_frames.hpp"

namespace pllava {

/// rgb to bgra, grey: 8 bits per channel. nv12, yuyv, grey16: see raw_frames.hpp.
enum class PixelLayout : std::uint8_t { rgb, bgr, grey, rgba, bgra, nv12, yuyv, grey16 };

struct RawImage {
  PixelLayout layout = PixelLayout::rgb;
  Index width = 0;
  Index height = 0;
  Plane pixels = {};  ///< nv12: the luma
  Plane chroma = {};  ///< of nv12
  /// Seconds of the sender's clock; NaN: unknown.
  double time = std::numeric_limits<double>::quiet_NaN();
  YuvEncoding encoding = YuvEncoding::bt601_limited;  ///< of nv12 and yuyv
  std::shared_ptr<const void> owner = {};  ///< keeps the pixels alive; null: they are borrowed
};

/// Throws MediaError for null planes, a size below 1, an odd width of yuyv, and strides shorter
/// than a row.
void require_valid(const RawImage& image);
/// The image with pixels that it owns: itself if it has an owner, else a copy. Throws as
/// require_valid, OutOfMemoryError.
RawImage owned(const RawImage& image);
/// The image as a frame. nv12, yuyv and grey16 are converted to RGB; other layouts share the pixels
/// with the owner, or are copied if there is none. Frame::time is 0. Throws as require_valid.
Frame to_frame(const RawImage& image);

}  // namespace pllava

#ifndef PLLAVA_COMPILED
#include "pllava/media/detail/raw_image_inl.hpp"
#endif
