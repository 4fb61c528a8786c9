// Preprocessing on the device gives the same pixels as on the host, to the bit.
#include <algorithm>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "pllava/cuda.hpp"
#include "pllava/pllava.hpp"
#include "support/catch.hpp"
#ifndef PLLAVA_TEST_GPU
#include "support/host_device.hpp"
#endif
#include "support/nv12.hpp"
#include "support/tensors.hpp"

namespace {

using namespace pllava;

/// A frame of noise, with `padding` bytes after each row.
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

std::vector<float> on_device(const std::vector<Frame>& frames, const PreprocessConfig& config,
                             cuda::Backend be = cuda::Backend()) {
  const Index S = config.image_size;
  Tensor<cuda::Backend> pixels(be, {static_cast<Index>(frames.size()), 3, S, S}, DType::f32);
  ops::preprocess(be, pixels.view(), frames, config);
  return detail::to_floats(be, pixels);
}

TEST_CASE("Preprocessing on the device matches the host for every size and format", "[cuda]") {
  PreprocessConfig config;
  config.image_size = 24;
  config.long_edge = 60;  // stage 1 resizes longer frames
  struct Case {
    Index width, height;
    PixelFormat format;
    Index padding;
  };
  for (const auto& [width, height, format, padding] :
       {Case{24, 24, PixelFormat::rgb, 0},    // no resizing
        Case{25, 24, PixelFormat::bgr, 0},    // crop only
        Case{60, 40, PixelFormat::rgb, 5},    // stage 2 only
        Case{130, 71, PixelFormat::bgr, 0},   // both stages
        Case{50, 133, PixelFormat::rgba, 3},  // portrait
        Case{97, 64, PixelFormat::bgra, 0}, Case{90, 90, PixelFormat::grey, 1},
        Case{7, 5, PixelFormat::rgb, 0}}) {  // enlarged
    INFO(width << "x" << height << " format " << static_cast<int>(format));
    const std::vector<Frame> frames(2, noise(width, height, format, padding));
    Clip clip;
    clip.frames = frames;
    CHECK(on_device(frames, config) == pllava::preprocess(clip, config));
  }
}

TEST_CASE("Frames of several sizes in one clip keep their order", "[cuda]") {
  PreprocessConfig config;
  config.image_size = 20;
  Clip clip;
  clip.frames = {noise(60, 40, PixelFormat::rgb), noise(60, 40, PixelFormat::rgb, 7),
                 noise(64, 40, PixelFormat::rgb), noise(60, 40, PixelFormat::bgr)};
  CHECK(on_device(clip.frames, config) == pllava::preprocess(clip, config));
}

/// Copies bytes to device memory, and waits for the copy.
std::shared_ptr<void> in_device_memory(cuda::Backend& be, const void* bytes, Index size) {
  auto memory = be.allocate(size);
  be.upload({memory.get(), DType::u8, {size}}, bytes);
  be.synchronize();
  return memory;
}

/// The frame in device memory. Its format must be a DeviceFormat.
Frame on_gpu(cuda::Backend& be, const Frame& frame) {
  const auto memory = in_device_memory(be, frame.data, frame.stride * frame.height);
  cuda::DevicePixels pixels{.data = memory.get(), .stride = frame.stride};
  switch (frame.format) {
    case PixelFormat::bgr: pixels.format = cuda::DeviceFormat::bgr; break;
    case PixelFormat::rgba: pixels.format = cuda::DeviceFormat::rgba; break;
    case PixelFormat::bgra: pixels.format = cuda::DeviceFormat::bgra; break;
    default: REQUIRE(frame.format == PixelFormat::rgb);
  }
  return cuda::borrow(pixels, frame.width, frame.height, memory);
}

Frame on_gpu(cuda::Backend& be, const test::Nv12Image& image, cuda::YuvEncoding encoding) {
  // Both planes in one allocation, as from a video decoder.
  std::vector<std::uint8_t> planes = image.luma;
  planes.insert(planes.end(), image.chroma.begin(), image.chroma.end());
  const auto memory = in_device_memory(be, planes.data(), static_cast<Index>(planes.size()));
  return cuda::borrow(
      {.data = memory.get(),
       .stride = image.luma_stride,
       .format = cuda::DeviceFormat::nv12,
       .chroma = static_cast<const std::uint8_t*>(memory.get()) + image.luma_stride * image.height,
       .chroma_stride = image.chroma_stride,
       .encoding = encoding},
      image.width, image.height, memory);
}

/// The message of the MediaError that `call` throws; "no error" if none.
template <class Call>
std::string refusal(const Call& call) {
  try {
    call();
  } catch (const MediaError& e) {
    return e.what();
  }
  return "no error";
}

TEST_CASE("Frames in device memory give the same pixels as in host memory", "[cuda]") {
  PreprocessConfig config;
  config.image_size = 24;
  config.long_edge = 60;
  for (const PixelFormat format :
       {PixelFormat::rgb, PixelFormat::bgr, PixelFormat::rgba, PixelFormat::bgra})
    for (const Index padding : {0, 5}) {
      cuda::Backend be;
      Clip clip;
      clip.frames = {noise(70, 41, format, padding)};
      const Frame frame = on_gpu(be, clip.frames[0]);
      CHECK(on_device({frame}, config, std::move(be)) == pllava::preprocess(clip, config));
    }
}

TEST_CASE("NV12 in device memory gives the same pixels as its RGB conversion", "[cuda]") {
  PreprocessConfig config;
  config.image_size = 24;
  config.long_edge = 60;
  for (const auto encoding : {cuda::YuvEncoding::bt601_limited, cuda::YuvEncoding::bt601_full,
                              cuda::YuvEncoding::bt709_limited, cuda::YuvEncoding::bt709_full})
    for (const Index padding : {0, 32}) {
      cuda::Backend be;
      const test::Nv12Image image(70, 42, padding);
      Clip clip;
      clip.frames = {Frame::own(test::to_rgb(image, encoding), 70, 42)};
      const Frame frame = on_gpu(be, image, encoding);
      CHECK(on_device({frame}, config, std::move(be)) == pllava::preprocess(clip, config));
    }
}

TEST_CASE("A clip may mix frames in host and device memory", "[cuda]") {
  PreprocessConfig config;
  config.image_size = 20;
  cuda::Backend be;
  const test::Nv12Image image(60, 40, 4);
  const auto encoding = cuda::YuvEncoding::bt601_full;
  Clip clip;
  clip.frames = {noise(60, 40, PixelFormat::bgr), noise(60, 40, PixelFormat::bgr, 3),
                 Frame::own(test::to_rgb(image, encoding), 60, 40),
                 noise(60, 40, PixelFormat::rgb)};
  const std::vector<Frame> mixed = {clip.frames[0], on_gpu(be, clip.frames[1]),
                                    on_gpu(be, image, encoding), clip.frames[3]};
  CHECK(on_device(mixed, config, std::move(be)) == pllava::preprocess(clip, config));
}

TEST_CASE("Invalid descriptions of device memory are refused", "[cuda]") {
  using cuda::DeviceFormat;
  std::uint8_t byte = 0;
  const auto refused = [](const cuda::DevicePixels& pixels, Index width, Index height) {
    return refusal([&] { cuda::borrow(pixels, width, height); });
  };
  CHECK(refused({}, 8, 6) == "a frame without pixels (8x6)");
  CHECK(refused({.data = &byte}, 0, 6).find("expected sides from 1") != std::string::npos);
  CHECK(refused({.data = &byte, .stride = 31, .format = DeviceFormat::bgra}, 8, 6) ==
        "rows of a 8x6 frame are 31 bytes apart; expected at least 32");
  const auto nv12 = [&](Index width, Index height, Index stride, const void* chroma,
                        Index chroma_stride) {
    return refused({.data = &byte,
                    .stride = stride,
                    .format = DeviceFormat::nv12,
                    .chroma = chroma,
                    .chroma_stride = chroma_stride},
                   width, height);
  };
  CHECK(nv12(8, 6, 0, &byte, 0) == "no error");
  CHECK(nv12(8, 6, 0, nullptr, 0) == "an NV12 frame of 8x6 has no chroma plane");
  CHECK(nv12(7, 6, 0, &byte, 0) == "an NV12 frame of 7x6; expected even sides");
  CHECK(nv12(8, 5, 0, &byte, 0) == "an NV12 frame of 8x5; expected even sides");
  CHECK(nv12(8, 6, 7, &byte, 0) == "rows of a 8x6 frame are 7 bytes apart; expected at least 8");
  CHECK(nv12(8, 6, 0, &byte, 6) ==
        "an NV12 frame of 8x6 has chroma rows 6 bytes apart; expected at least 8");
}

TEST_CASE("Memory of the host or another device is refused", "[cuda]") {
  const PreprocessConfig config;
  const Frame host = noise(40, 30, PixelFormat::rgb);
  const Frame in_host_memory = cuda::borrow({.data = host.data}, 40, 30);
  CHECK(refusal([&] { on_device({in_host_memory}, config); }) ==
        "a frame of 40x30 is in host memory; expected memory of GPU 0");
#ifndef PLLAVA_TEST_GPU
  auto& fake = cuda::HostDevice::instance();
  cuda::Backend be;
  const Frame there = on_gpu(be, host);
  const auto waits = fake.waits.size();
  fake.memory_device = 1;
  CHECK(refusal([&] { on_device({there}, config); }) ==
        "a frame of 40x30 is in memory of GPU 1; expected memory of GPU 0");
  fake.memory_device = 0;
  CHECK(fake.waits.size() == waits);
#endif
}

TEST_CASE("Preprocessing on the host refuses frames in device memory", "[cuda]") {
  const PreprocessConfig config;
  cuda::Backend be;
  Clip clip;
  clip.frames.assign(2, on_gpu(be, noise(40, 30, PixelFormat::rgb)));
  const std::string expected =
      "a frame in a GPU's memory (40x30); expected one in host memory, or the CUDA backend";
  CHECK(refusal([&] { to_rgb(clip.frames[0]); }) == expected);
  CHECK(refusal([&] { resize(clip.frames[0], 8, 8); }) == expected);
  CHECK(refusal([&] { pllava::preprocess(clip, config); }) == expected);
  const ModelConfig tiny = ModelConfig::preset("tiny");
  const Pipeline cpu = Pipeline::random(tiny, 3, {.dtype = DType::f32, .threads = 1});
  CHECK(refusal([&] { cpu.watch(clip); }) == expected);
}

#ifndef PLLAVA_TEST_GPU

TEST_CASE("The device waits for producers, and producers wait for the device", "[cuda]") {
  PreprocessConfig config;
  config.image_size = 20;
  auto& fake = cuda::HostDevice::instance();
  cuda::Backend be;
  int streams[2];
  const auto from = [&](const Frame& frame, int stream) {
    const Frame there = on_gpu(be, frame);
    cuda::DevicePixels pixels = *there.device;
    pixels.stream = &streams[stream];
    return cuda::borrow(pixels, frame.width, frame.height, there.owner);
  };
  const Frame wide = noise(60, 40, PixelFormat::rgb), tall = noise(40, 60, PixelFormat::rgb);
  const std::vector<Frame> frames = {from(wide, 0), from(wide, 0), wide, from(tall, 1),
                                     from(wide, 0)};
  using Waits = std::vector<std::pair<void*, void*>>;
  const Waits expected = {// (waiting, signaling); null is the device's stream
                          {nullptr, &streams[0]},
                          {nullptr, &streams[1]},
                          {&streams[0], nullptr},
                          {&streams[1], nullptr}};
  const auto waits_of = [&](const auto& call) {
    fake.waits.clear();
    call();
    std::sort(fake.waits.begin() + 2, fake.waits.end());
    return fake.waits;
  };
  CHECK(waits_of([&] { on_device(frames, config); }) == expected);
  // A call that fails may have started to read.
  fake.max_bytes = 1 << 20;  // too little for scratch
  CHECK(waits_of([&] { CHECK_THROWS_AS(on_device(frames, config), OutOfMemoryError); }) ==
        expected);
  fake.max_bytes = std::numeric_limits<Index>::max();
}

#endif

TEST_CASE("The device refuses the frames that the host refuses", "[cuda]") {
  const PreprocessConfig config;
  Frame broken = noise(40, 30, PixelFormat::rgb);
  broken.stride = 8;
  CHECK_THROWS_AS(on_device({broken}, config), MediaError);
  CHECK_THROWS_AS(on_device({noise(1, 1000, PixelFormat::rgb)}, config), MediaError);
  CHECK_THROWS_AS(on_device({noise(40, 30, PixelFormat::rgb), Frame{}}, config), MediaError);
}

}  // namespace
