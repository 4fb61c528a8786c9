#include "deep_grey.hpp"

#include <algorithm>
#include <cstring>

#include "pllava/media/raw_frames.hpp"

namespace pllava::detail {

Frame rgb_from_deep_grey(const void* pixels, Index width, Index height, Index stride) {
  std::uint16_t max = 0;
  for (Index y = 0; y < height; ++y)
    for (Index x = 0; x < width; ++x) {
      std::uint16_t value = 0;
      std::memcpy(&value, static_cast<const std::uint8_t*>(pixels) + y * stride + 2 * x, 2);
      max = std::max(max, value);
    }
  int bits = 10;
  while (max >> bits != 0) bits += 2;
  return rgb_from_grey16({pixels, stride}, width, height, 0,
                         static_cast<std::uint16_t>((1 << bits) - 1));
}

}  // namespace pllava::detail
