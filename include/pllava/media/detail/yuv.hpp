// Coefficients of the conversion from YUV to RGB. Shared by the host and by device backends.
#pragma once

#include "pllava/media/raw_frames.hpp"

namespace pllava::detail {

/// Offset of Y, and the coefficients of YuvEncoding in 16.16 fixed point.
struct YuvCoefficients {
  int luma_offset, luma_scale, red_cr, green_cb, green_cr, blue_cb;
};

inline YuvCoefficients yuv_coefficients(YuvEncoding encoding) {
  switch (encoding) {
    case YuvEncoding::bt601_limited: return {16, 76309, 104597, 25675, 53279, 132201};
    case YuvEncoding::bt601_full: return {0, 65536, 91881, 22553, 46802, 116130};
    case YuvEncoding::bt709_limited: return {16, 76309, 117489, 13975, 34925, 138438};
    case YuvEncoding::bt709_full: return {0, 65536, 103206, 12276, 30679, 121609};
  }
  return {};
}

}  // namespace pllava::detail
