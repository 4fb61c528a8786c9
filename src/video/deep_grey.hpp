// Grey images of 16 bits, such as depth, thermal and industrial images.
#pragma once

#include <cstdint>

#include "pllava/media/image.hpp"

namespace pllava::detail {

/// RGB from 16-bit grey in the byte order of the machine, `stride` bytes between rows. Cameras
/// store 10, 12 or 14 bits in 16: the fewest of 10, 12, 14 and 16 bits that hold all values are
/// scaled to the full range.
Frame rgb_from_deep_grey(const void* pixels, Index width, Index height, Index stride);

}  // namespace pllava::detail
