// Frames: ownership, conversion to RGB and validation.
#include "pllava/media/image.hpp"

#include <vector>

#include "support/catch.hpp"

using namespace pllava;

namespace {

std::vector<std::uint8_t> bytes_of(const Frame& f) {
  std::vector<std::uint8_t> bytes;
  for (Index y = 0; y < f.height; ++y)
    bytes.insert(bytes.end(), f.data + y * f.stride,
                 f.data + y * f.stride + f.width * channels_of(f.format));
  return bytes;
}

template <class Call>
std::string media_error(Call&& call) {
  try {
    call();
  } catch (const MediaError& e) {
    return e.what();
  }
  return "no error";
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("A borrowed frame points to the caller's pixels", "[image]") {
  const std::vector<std::uint8_t> pixels(2 * 3 * 3);
  const Frame f = Frame::borrow(pixels.data(), 3, 2);
  CHECK(f.data == pixels.data());
  CHECK(f.stride == 9);
  CHECK(f.owner == nullptr);
  CHECK(to_rgb(f).data != pixels.data());  // the caller may reuse its buffer
  CHECK(Frame::borrow(pixels.data(), 1, 2, PixelFormat::grey, 9).stride == 9);
}

TEST_CASE("Copies of an owned frame keep its pixels alive", "[image]") {
  Frame copy;
  {
    const Frame f = Frame::own({1, 2, 3, 4, 5, 6}, 1, 2);
    copy = f;
  }
  CHECK(bytes_of(copy) == std::vector<std::uint8_t>{1, 2, 3, 4, 5, 6});
  CHECK(copy.owner.use_count() == 1);
}

TEST_CASE("Every pixel format converts to dense RGB and keeps time and index", "[image]") {
  const std::vector<std::uint8_t> pixels{1, 2, 3, 4, 5, 6, 7, 8};
  struct Case {
    PixelFormat format;
    std::vector<std::uint8_t> rgb;  // of two pixels
  };
  for (const Case& c :
       {Case{PixelFormat::rgb, {1, 2, 3, 4, 5, 6}}, Case{PixelFormat::bgr, {3, 2, 1, 6, 5, 4}},
        Case{PixelFormat::grey, {1, 1, 1, 2, 2, 2}}, Case{PixelFormat::rgba, {1, 2, 3, 5, 6, 7}},
        Case{PixelFormat::bgra, {3, 2, 1, 7, 6, 5}}}) {
    Frame f = Frame::borrow(pixels.data(), 2, 1, c.format);
    f.time = 1.5;
    f.index = 7;
    const Frame rgb = to_rgb(f);
    CAPTURE(static_cast<int>(c.format));
    CHECK(bytes_of(rgb) == c.rgb);
    CHECK(rgb.format == PixelFormat::rgb);
    CHECK(rgb.stride == 6);
    CHECK(rgb.time == 1.5);
    CHECK(rgb.index == 7);
  }
}

TEST_CASE("Conversion to RGB removes padding between rows", "[image]") {
  const std::vector<std::uint8_t> pixels{1, 2, 3, 99, 4, 5, 6, 99};
  const Frame rgb = to_rgb(Frame::borrow(pixels.data(), 1, 2, PixelFormat::rgb, 4));
  CHECK(bytes_of(rgb) == std::vector<std::uint8_t>{1, 2, 3, 4, 5, 6});
  CHECK(rgb.stride == 3);
  CHECK(rgb.owner != nullptr);
}

TEST_CASE("Frames without valid pixels are refused", "[image]") {
  const std::uint8_t pixel[3]{};
  CHECK(contains(media_error([] { Frame::borrow(nullptr, 2, 2); }), "without pixels (2x2)"));
  CHECK(contains(media_error([&] { Frame::borrow(pixel, 0, 1); }), "0x1"));
  CHECK(contains(media_error([&] { Frame::borrow(pixel, 1, -1); }), "1x-1"));
  CHECK(contains(media_error([&] { Frame::borrow(pixel, Index{1} << 62, 1); }), "expected sides"));
  CHECK(contains(media_error([&] { Frame::borrow(pixel, 4, 1, PixelFormat::rgb, 11); }),
                 "11 bytes apart; expected at least 12"));
  CHECK(contains(media_error([&] { Frame::borrow(pixel, 1, 1, PixelFormat::rgb, -3); }), "-3"));
  CHECK(contains(media_error([] { Frame::own({1, 2, 3, 4}, 1, 1); }), "has 3 bytes; got 4"));
  CHECK(contains(media_error([] { Frame::own({}, 1, 1); }), "has 3 bytes; got 0"));
  CHECK(contains(media_error([] { to_rgb(Frame{}); }), "without pixels"));
}
