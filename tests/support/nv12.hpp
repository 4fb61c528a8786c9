// NV12 to RGB as the docstring of cuda::YuvEncoding has it, in plain loops.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "pllava/cuda.hpp"

namespace test {

using pllava::Index;

/// A picture in NV12, whose rows may be longer than they need to be.
struct Nv12Picture {
  Index width = 0, height = 0, luma_stride = 0, chroma_stride = 0;
  std::vector<std::uint8_t> luma, chroma;

  Nv12Picture(Index w, Index h, Index padding)
      : width(w), height(h), luma_stride(w + padding), chroma_stride((w + 1) / 2 * 2 + padding) {
    luma.resize(static_cast<std::size_t>(luma_stride * h));
    chroma.resize(static_cast<std::size_t>(chroma_stride * ((h + 1) / 2)));
    std::uint32_t state = static_cast<std::uint32_t>(w * 131 + h);
    for (auto* plane : {&luma, &chroma})
      for (std::uint8_t& b : *plane)
        b = static_cast<std::uint8_t>((state = state * 1664525u + 1013904223u) >> 24);
  }
};

struct YuvFactors {
  std::int64_t offset, y, r, gu, gv, b;
};
inline YuvFactors factors(pllava::cuda::YuvEncoding encoding) {
  using pllava::cuda::YuvEncoding;
  switch (encoding) {
    case YuvEncoding::bt601_limited: return {16, 76309, 104597, 25675, 53279, 132201};
    case YuvEncoding::bt601_full: return {0, 65536, 91881, 22553, 46802, 116130};
    case YuvEncoding::bt709_limited: return {16, 76309, 117489, 13975, 34925, 138438};
    case YuvEncoding::bt709_full: return {0, 65536, 103206, 12276, 30679, 121609};
  }
  return {};
}

/// (height, width, 3)
inline std::vector<std::uint8_t> to_rgb(const Nv12Picture& in, pllava::cuda::YuvEncoding encoding) {
  const YuvFactors f = factors(encoding);
  const auto at = [](const std::vector<std::uint8_t>& plane, Index i) -> std::int64_t {
    return plane[static_cast<std::size_t>(i)];
  };
  const auto rounded = [](std::int64_t x) {
    x += 32768;
    const std::int64_t below = x >= 0 ? x / 65536 : -((65535 - x) / 65536);
    return static_cast<std::uint8_t>(std::clamp<std::int64_t>(below, 0, 255));
  };
  std::vector<std::uint8_t> rgb;
  for (Index row = 0; row < in.height; ++row)
    for (Index column = 0; column < in.width; ++column) {
      const Index pair = row / 2 * in.chroma_stride + column / 2 * 2;
      const std::int64_t c = f.y * (at(in.luma, row * in.luma_stride + column) - f.offset);
      const std::int64_t u = at(in.chroma, pair) - 128, v = at(in.chroma, pair + 1) - 128;
      rgb.push_back(rounded(c + f.r * v));
      rgb.push_back(rounded(c - f.gu * u - f.gv * v));
      rgb.push_back(rounded(c + f.b * u));
    }
  return rgb;
}

}  // namespace test
