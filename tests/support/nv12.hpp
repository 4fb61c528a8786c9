// Reference NV12 to RGB conversion, as the docstring of YuvEncoding defines it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "pllava/media/raw_frames.hpp"

namespace test {

using pllava::Index;

/// A random NV12 image; each row ends with `padding` bytes.
struct Nv12Image {
  Index width = 0, height = 0, luma_stride = 0, chroma_stride = 0;
  std::vector<std::uint8_t> luma, chroma;

  Nv12Image(Index w, Index h, Index padding)
      : width(w), height(h), luma_stride(w + padding), chroma_stride((w + 1) / 2 * 2 + padding) {
    luma.resize(static_cast<std::size_t>(luma_stride * h));
    chroma.resize(static_cast<std::size_t>(chroma_stride * ((h + 1) / 2)));
    std::uint32_t state = static_cast<std::uint32_t>(w * 131 + h);
    for (auto* plane : {&luma, &chroma})
      for (std::uint8_t& b : *plane)
        b = static_cast<std::uint8_t>((state = state * 1664525u + 1013904223u) >> 24);
  }
};

struct YuvCoefficients {
  std::int64_t offset, y, r, gu, gv, b;
};
/// Offset of Y, and 16.16 fixed-point coefficients.
inline YuvCoefficients coefficients(pllava::YuvEncoding encoding) {
  using pllava::YuvEncoding;
  switch (encoding) {
    case YuvEncoding::bt601_limited: return {16, 76309, 104597, 25675, 53279, 132201};
    case YuvEncoding::bt601_full: return {0, 65536, 91881, 22553, 46802, 116130};
    case YuvEncoding::bt709_limited: return {16, 76309, 117489, 13975, 34925, 138438};
    case YuvEncoding::bt709_full: return {0, 65536, 103206, 12276, 30679, 121609};
  }
  return {};
}

/// (height, width, 3)
inline std::vector<std::uint8_t> to_rgb(const Nv12Image& in, pllava::YuvEncoding encoding) {
  const YuvCoefficients f = coefficients(encoding);
  const auto at = [](const std::vector<std::uint8_t>& plane, Index i) -> std::int64_t {
    return plane[static_cast<std::size_t>(i)];
  };
  const auto to_byte = [](std::int64_t x) {
    x += 32768;
    const std::int64_t floor = x >= 0 ? x / 65536 : -((65535 - x) / 65536);
    return static_cast<std::uint8_t>(std::clamp<std::int64_t>(floor, 0, 255));
  };
  std::vector<std::uint8_t> rgb;
  for (Index row = 0; row < in.height; ++row)
    for (Index column = 0; column < in.width; ++column) {
      const Index pair = row / 2 * in.chroma_stride + column / 2 * 2;
      const std::int64_t c = f.y * (at(in.luma, row * in.luma_stride + column) - f.offset);
      const std::int64_t u = at(in.chroma, pair) - 128, v = at(in.chroma, pair + 1) - 128;
      rgb.push_back(to_byte(c + f.r * v));
      rgb.push_back(to_byte(c - f.gu * u - f.gv * v));
      rgb.push_back(to_byte(c + f.b * u));
    }
  return rgb;
}

}  // namespace test
