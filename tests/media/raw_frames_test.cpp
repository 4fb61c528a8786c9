// Frames from camera layouts, and the ring of the last frames.
#include "pllava/media/raw_frames.hpp"

#include <string>
#include <vector>

#include "pllava/media/frame_ring.hpp"
#include "support/catch.hpp"
#include "support/message_of.hpp"
#include "support/nv12.hpp"

using namespace pllava;

namespace {

std::vector<std::uint8_t> bytes_of(const Frame& f) {
  return std::vector<std::uint8_t>(f.data, f.data + f.stride * f.height);
}

constexpr YuvEncoding kEncodings[] = {YuvEncoding::bt601_limited, YuvEncoding::bt601_full,
                                      YuvEncoding::bt709_limited, YuvEncoding::bt709_full};

}  // namespace

TEST_CASE("NV12 matches the documented formula at any size and stride", "[raw_frames]") {
  for (const YuvEncoding encoding : kEncodings)
    for (const Index padding : {0, 5})
      for (const Index width : {1, 6, 7}) {
        const test::Nv12Image image(width, 5, padding);
        const Frame frame =
            rgb_from_nv12({image.luma.data(), image.luma_stride},
                          {image.chroma.data(), image.chroma_stride}, width, 5, encoding);
        CHECK(bytes_of(frame) == test::to_rgb(image, encoding));
        CHECK(frame.owner != nullptr);
      }
}

TEST_CASE("YUYV has the colors of NV12 with the same values", "[raw_frames]") {
  const test::Nv12Image image(6, 4, 0);
  std::vector<std::uint8_t> yuyv;
  for (Index y = 0; y < 4; ++y) {
    for (Index x = 0; x < 6; ++x) {
      yuyv.push_back(image.luma[static_cast<std::size_t>(y * 6 + x)]);
      yuyv.push_back(image.chroma[static_cast<std::size_t>(y / 2 * 6 + x)]);
    }
    yuyv.insert(yuyv.end(), 3, 99);  // padding
  }
  for (const YuvEncoding encoding : kEncodings)
    CHECK(bytes_of(rgb_from_yuyv({yuyv.data(), 15}, 6, 4, encoding)) ==
          test::to_rgb(image, encoding));
  CHECK(test::message_of<MediaError>([&] {
          rgb_from_yuyv({yuyv.data(), 0}, 5, 4);
        }).find("5 columns") != std::string::npos);
}

TEST_CASE("16-bit grey is scaled from its range", "[raw_frames]") {
  const std::uint16_t pixels[] = {0, 1000, 1500, 2000, 65535};
  const auto first = [&](std::uint16_t black, std::uint16_t white) {
    std::vector<int> values;
    const Frame f = rgb_from_grey16({pixels}, 5, 1, black, white);
    for (Index x = 0; x < 5; ++x) values.push_back(f.data[3 * x]);
    return values;
  };
  CHECK(first(0, 65535) == std::vector<int>{0, 4, 6, 8, 255});
  CHECK(first(1000, 2000) == std::vector<int>{0, 0, 128, 255, 255});
  CHECK(test::message_of<ArgumentError>([&] { first(5, 5); }).find("black < white") !=
        std::string::npos);
}

TEST_CASE("Raw frames without valid pixels are refused", "[raw_frames]") {
  const std::uint8_t pixel[8]{};
  CHECK(test::message_of<MediaError>([&] { rgb_from_nv12({nullptr}, {pixel}, 2, 2); }) != "");
  CHECK(test::message_of<MediaError>([&] {
          rgb_from_nv12({pixel, 1}, {pixel}, 2, 2);
        }).find("1 bytes apart") != std::string::npos);
  CHECK(test::message_of<MediaError>([&] { rgb_from_nv12({pixel, -2}, {pixel}, 2, 2); }) != "");
  CHECK(test::message_of<MediaError>([&] {
          rgb_from_nv12({pixel, Index{1} << 40}, {pixel}, 2, 2);
        }) != "");
  CHECK(test::message_of<MediaError>([&] { rgb_from_grey16({pixel}, 0, 2); }).find("0x2") !=
        std::string::npos);
}

TEST_CASE("Copied, shared and borrowed frames", "[raw_frames]") {
  std::vector<std::uint8_t> buffer{1, 2, 3, 0, 4, 5, 6, 0};
  const Frame copied = Frame::copy(buffer.data(), 1, 2, PixelFormat::bgr, 4);
  const Frame converted = to_rgb(Frame::borrow(buffer.data(), 2, 1));
  const auto owner = std::make_shared<int>(0);
  const Frame shared = Frame::share(owner, buffer.data(), 1, 2, PixelFormat::rgb, 4);
  CHECK(owner.use_count() == 2);
  buffer.assign(8, 9);  // the caller reuses its buffer
  CHECK(bytes_of(copied) == std::vector<std::uint8_t>{1, 2, 3, 4, 5, 6});
  CHECK(bytes_of(converted) == std::vector<std::uint8_t>{1, 2, 3, 0, 4, 5});
  CHECK(shared.data == buffer.data());
  CHECK(to_rgb(converted).data == converted.data);
  CHECK(test::message_of<MediaError>([&] {
          Frame::share(nullptr, buffer.data(), 1, 1);
        }).find("owner") != std::string::npos);
}

TEST_CASE("A ring keeps copies of the last frames", "[raw_frames]") {
  FrameRing ring(3);
  std::uint8_t pixel[3]{};
  for (std::uint8_t i = 0; i < 5; ++i) {
    pixel[0] = i;
    Frame frame = Frame::borrow(pixel, 1, 1);
    frame.index = i;
    ring.push(frame);
  }
  const Clip clip = ring.clip();
  REQUIRE(clip.frames.size() == 3);
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(clip.frames[i].data[0] == i + 2);
    CHECK(clip.frames[i].index == static_cast<Index>(i) + 2);
  }
  CHECK(ring.size() == 3);
  ring.clear();
  CHECK(ring.clip().frames.empty());
  CHECK_THROWS_AS(FrameRing(0), ArgumentError);
  CHECK_THROWS_AS(ring.push(Frame{}), MediaError);
}
