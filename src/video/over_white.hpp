// Removal of transparency.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "pllava/media/image.hpp"

namespace pllava::detail {

/// Dense RGB from RGBA with `stride` bytes between rows, over white as in browsers.
inline Frame over_white(const std::uint8_t* rgba, Index width, Index height, Index stride) {
  std::vector<std::uint8_t> pixels(static_cast<std::size_t>(width * height * 3));
  std::uint8_t* out = pixels.data();
  for (Index y = 0; y < height; ++y) {
    const std::uint8_t* p = rgba + y * stride;
    for (Index x = 0; x < width; ++x, p += 4)
      for (int c = 0; c < 3; ++c)
        *out++ = static_cast<std::uint8_t>((p[c] * p[3] + 255 * (255 - p[3]) + 127) / 255);
  }
  return Frame::own(std::move(pixels), width, height);
}

}  // namespace pllava::detail
