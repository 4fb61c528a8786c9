// Fuzz target: video files and images in memory, sampled and iterated.
#include "pllava/media/video.hpp"

#include <cstddef>
#include <cstdint>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto* const begin = reinterpret_cast<const std::byte*>(data);
  try {
    pllava::Video video = pllava::Video::open(std::vector<std::byte>(begin, begin + size), "fuzz",
                                              {.threads = 1, .max_pixels = 1 << 16});
    const pllava::Clip clip = video.sample(3);
    if (clip.frames.size() != 3) __builtin_trap();
    for (int i = 0; i < 8; ++i) {
      const auto frame = video.next();
      if (!frame) break;
      if (frame->width < 1 || frame->height < 1 || !(frame->time >= 0)) __builtin_trap();
    }
  } catch (const pllava::Error&) {
  }
  return 0;
}
