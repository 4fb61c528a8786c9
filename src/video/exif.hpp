// EXIF orientation of image files.
#pragma once

#include <cstddef>
#include <span>

#include "orientation.hpp"

namespace pllava::detail {

/// The orientation that the EXIF data of a JPEG, PNG, WebP or TIFF file request (tag 0x112). The
/// identity if there are none or they are damaged.
Orientation exif_orientation(std::span<const std::byte> file);

}  // namespace pllava::detail
