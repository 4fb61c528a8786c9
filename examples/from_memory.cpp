// Frames in the program's memory, for example from a camera driver or a simulator:
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

  // BGR images with a row stride of 512 bytes: a bright square that moves to the right.
  const pllava::Index width = 150, height = 100, stride = 512;
  std::vector<std::vector<std::uint8_t>> images;
  for (pllava::Index t = 0; t < model.frames(); ++t) {
    auto& image = images.emplace_back(static_cast<std::size_t>(stride * height));
    for (pllava::Index y = 40; y < 60; ++y)
      for (pllava::Index x = 3 * 8 * t; x < 3 * (8 * t + 20); ++x)
        image[static_cast<std::size_t>(y * stride + x)] = 255;
  }

  pllava::Clip clip;
  for (const auto& image : images)  // no copy: the images must outlive the clip
    clip.frames.push_back(
        pllava::Frame::borrow(image.data(), width, height, pllava::PixelFormat::bgr, stride));
  const auto answer = model.watch(clip).ask("What moves?", {.max_new_tokens = 32});
  std::cout << clip.frames.size() << " frames: " << answer.text << '\n';
} catch (const pllava::Error& e) {
  std::cerr << "from_memory: " << e.what() << '\n';
  return 1;
}
