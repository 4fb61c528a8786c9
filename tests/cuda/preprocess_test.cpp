// Preprocessing on the device gives the host's pixels, to the bit.
#include <vector>

#include "pllava/cuda.hpp"
#include "pllava/pllava.hpp"
#include "support/catch.hpp"
#include "support/tensors.hpp"

namespace {

using namespace pllava;

/// A frame of noise whose rows are `padding` bytes longer than they need to be.
Frame noise(Index width, Index height, PixelFormat format, Index padding = 0) {
  const Index stride = width * channels_of(format) + padding;
  auto bytes =
      std::make_shared<std::vector<std::uint8_t>>(static_cast<std::size_t>(stride * height));
  std::uint32_t state = static_cast<std::uint32_t>(width * 31 + height);
  for (std::uint8_t& b : *bytes)
    b = static_cast<std::uint8_t>((state = state * 1664525u + 1013904223u) >> 24);
  Frame frame = Frame::borrow(bytes->data(), width, height, format, stride);
  frame.owner = bytes;
  return frame;
}

std::vector<float> on_device(const std::vector<Frame>& frames, const PreprocessConfig& config) {
  cuda::Backend be;
  const Index S = config.image_size;
  const Tensor<cuda::Backend> pixels(be, {static_cast<Index>(frames.size()), 3, S, S}, DType::f32);
  ops::preprocess(be, pixels.view(), frames, config);
  return detail::to_floats(be, pixels);
}

TEST_CASE("The device prepares frames of any size and format as the host does", "[cuda]") {
  PreprocessConfig config;
  config.image_size = 24;
  config.long_edge = 60;  // stage 1 scales what is longer
  struct Case {
    Index width, height;
    PixelFormat format;
    Index padding;
  };
  for (const auto& [width, height, format, padding] :
       {Case{24, 24, PixelFormat::rgb, 0},    // nothing to scale
        Case{25, 24, PixelFormat::bgr, 0},    // only cut
        Case{60, 40, PixelFormat::rgb, 5},    // stage 2 alone
        Case{130, 71, PixelFormat::bgr, 0},   // both stages
        Case{50, 133, PixelFormat::rgba, 3},  // upright
        Case{97, 64, PixelFormat::bgra, 0}, Case{90, 90, PixelFormat::grey, 1},
        Case{7, 5, PixelFormat::rgb, 0}}) {  // scaled up
    INFO(width << "x" << height << " format " << static_cast<int>(format));
    const std::vector<Frame> frames(2, noise(width, height, format, padding));
    Clip clip;
    clip.frames = frames;
    CHECK(on_device(frames, config) == pllava::preprocess(clip, config));
  }
}

TEST_CASE("Frames of several sizes in one clip keep their places", "[cuda]") {
  PreprocessConfig config;
  config.image_size = 20;
  Clip clip;
  clip.frames = {noise(60, 40, PixelFormat::rgb), noise(60, 40, PixelFormat::rgb, 7),
                 noise(64, 40, PixelFormat::rgb), noise(60, 40, PixelFormat::bgr)};
  CHECK(on_device(clip.frames, config) == pllava::preprocess(clip, config));
}

TEST_CASE("Frames that the host refuses are refused by the device", "[cuda]") {
  const PreprocessConfig config;
  Frame broken = noise(40, 30, PixelFormat::rgb);
  broken.stride = 8;
  CHECK_THROWS_AS(on_device({broken}, config), MediaError);
  CHECK_THROWS_AS(on_device({noise(1, 1000, PixelFormat::rgb)}, config), MediaError);
  CHECK_THROWS_AS(on_device({noise(40, 30, PixelFormat::rgb), Frame{}}, config), MediaError);
}

}  // namespace
