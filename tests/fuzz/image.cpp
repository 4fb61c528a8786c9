// Fuzz target: image files.
#include <cstddef>
#include <cstdint>
#include <span>

#include "pllava/media/image_io.hpp"
#include "pllava/media/preprocess.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr pllava::Index kMaxPixels = 1 << 18;
  try {
    const pllava::Frame frame = pllava::decode_image(std::as_bytes(std::span(data, size)), "fuzz",
                                                     {.max_pixels = kMaxPixels});
    pllava::to_rgb(frame);
  } catch (const pllava::Error&) {
  }
  return 0;
}
