// Frames from the pixel layouts of cameras and decoders in host memory. All copy the pixels.
#pragma once

#include <cstdint>

#include "pllava/media/image.hpp"

namespace pllava {

/// Color encoding of NV12 and YUYV: the coefficients of BT.601 or BT.709, in limited range (Y from
/// 16 to 235, Cb and Cr from 16 to 240) or full range (all from 0 to 255).
///
/// RGB is computed in integers. Pixel (x, y) uses the chroma pair (x / 2, y / 2). With
/// u = Cb - 128, v = Cr - 128, and c a multiple of y' = Y - 16 (limited) or Y (full),
///
///   R = clip((c + r·v + 2^15) >> 16)
///   G = clip((c - gu·u - gv·v + 2^15) >> 16)
///   B = clip((c + b·u + 2^15) >> 16)
///
/// where >> rounds down, clip limits to 0 and 255, and the coefficients are those of the standard
/// times 2^16, rounded to nearest:
///
///                  c         r       gu      gv      b
///   bt601_limited  76309·y'  104597  25675   53279   132201
///   bt601_full     65536·y'  91881   22553   46802   116130
///   bt709_limited  76309·y'  117489  13975   34925   138438
///   bt709_full     65536·y'  103206  12276   30679   121609
enum class YuvEncoding : std::uint8_t { bt601_limited, bt601_full, bt709_limited, bt709_full };

/// A plane of pixels in host memory.
struct Plane {
  const void* data = nullptr;
  Index stride = 0;  ///< bytes between the starts of two rows; 0: densely packed
};

/// NV12: a luma plane of (height, width) bytes, and a chroma plane with Cb and Cr of 2 x 2 pixels.
/// The value of the last column and row of odd sizes is that of their pair. Throws MediaError: no
/// pixels, a size below 1, a stride shorter than a row.
Frame rgb_from_nv12(const Plane& luma, const Plane& chroma, Index width, Index height,
                    YuvEncoding encoding = YuvEncoding::bt709_limited);

/// YUYV (YUY2), the layout of most USB cameras: Y Cb Y Cr for two pixels. `width` must be even.
/// Throws as `rgb_from_nv12`.
Frame rgb_from_yuyv(const Plane& pixels, Index width, Index height,
                    YuvEncoding encoding = YuvEncoding::bt601_limited);

/// 16-bit grey in the byte order of the machine, such as depth or thermal images: `black` and below
/// become 0, `white` and above 255. Throws as `rgb_from_nv12`, and ArgumentError for black >=
/// white.
Frame rgb_from_grey16(const Plane& pixels, Index width, Index height, std::uint16_t black = 0,
                      std::uint16_t white = 65535);

}  // namespace pllava

#ifndef PLLAVA_COMPILED
#include "pllava/media/detail/raw_frames_inl.hpp"
#endif
