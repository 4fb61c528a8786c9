// Frames that the program already holds, as a camera's driver or a simulator gives them:
// from_memory MODEL_DIRECTORY
#include <iostream>
#include <vector>

#include "pllava/pllava.hpp"

int main(int argc, char** argv) try {
  if (argc != 2) {
    std::cerr << "usage: from_memory MODEL_DIRECTORY\n";
    return 2;
  }
  const auto model = pllava::Pipeline::load(argv[1]);

  // BGR pictures with rows of 512 bytes: a bright square that wanders to the right.
  const pllava::Index width = 150, height = 100, stride = 512;
  std::vector<std::vector<std::uint8_t>> pictures;
  for (pllava::Index t = 0; t < model.frames(); ++t) {
    auto& picture = pictures.emplace_back(static_cast<std::size_t>(stride * height));
    for (pllava::Index y = 40; y < 60; ++y)
      for (pllava::Index x = 3 * 8 * t; x < 3 * (8 * t + 20); ++x)
        picture[static_cast<std::size_t>(y * stride + x)] = 255;
  }

  pllava::Clip clip;
  for (const auto& picture : pictures)  // no copy: the pictures must outlive the clip
    clip.frames.push_back(
        pllava::Frame::borrow(picture.data(), width, height, pllava::PixelFormat::bgr, stride));
  const auto answer = model.watch(clip).ask("What moves?", {.max_new_tokens = 32});
  std::cout << clip.frames.size() << " frames: " << answer.text << '\n';
} catch (const pllava::Error& e) {
  std::cerr << "from_memory: " << e.what() << '\n';
  return 1;
}
