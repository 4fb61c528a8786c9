// Image files, valid and damaged. The JPEG file comes from FFmpeg's encoder.
#include "pllava/media/image_io.hpp"

#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/clip_writer.hpp"
#include "support/temp_directory.hpp"

using namespace pllava;

namespace {

std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<int> pixels_of(const Frame& f) {
  return std::vector<int>(f.data, f.data + f.stride * f.height);
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

TEST_CASE("PNM and BMP images are read exactly", "[image_io]") {
  const test::TempDirectory dir;
  const Frame color = load_image(dir.write("a.ppm", "P6\n2 1\n255\n\x01\x02\x03\xf0\xf1\xf2"));
  CHECK(color.width == 2);
  CHECK(color.height == 1);
  CHECK(color.format == PixelFormat::rgb);
  CHECK(pixels_of(color) == std::vector<int>{1, 2, 3, 0xf0, 0xf1, 0xf2});
  CHECK(pixels_of(load_image(dir.write("a.pgm", "P5\n1 2\n255\n\x07\x09"))) ==
        std::vector<int>{7, 7, 7, 9, 9, 9});

  std::string bmp(54, '\0');  // 1x1, 24 bits: B, G, R and a byte of padding
  bmp[0] = 'B';
  bmp[1] = 'M';
  bmp[2] = 58;
  bmp[10] = 54;
  bmp[14] = 40;
  bmp[18] = bmp[22] = bmp[26] = 1;
  bmp[28] = 24;
  bmp += std::string("\x30\x20\x10\x00", 4);
  CHECK(pixels_of(load_image(dir.write("a.bmp", bmp))) == std::vector<int>{0x10, 0x20, 0x30});
  CHECK(pixels_of(load_image(dir.write("b.pgm", "P5 # 9 9\n1 #\n1\n#5\n255\n\x07"))) ==
        std::vector<int>{7, 7, 7});
  // The content decides the format, not the extension.
  CHECK(load_image(dir.write("a.jpg", bmp)).width == 1);
}

TEST_CASE("JPEG images are read", "[image_io]") {
  const test::TempDirectory dir;
  test::write_clip(dir / "a.mjpeg", {.codec = "mjpeg", .frames = 1});
  const Frame f = load_image(dir / "a.mjpeg");
  CHECK(f.width == 96);
  CHECK(f.height == 64);
  CHECK(test::shown_index(f) == 0);
}

TEST_CASE("Damaged image files are refused with the file name", "[image_io]") {
  const test::TempDirectory dir;
  const auto error_of = [&](const std::string& name, std::string_view bytes) {
    const auto path = dir.write(name, bytes);
    const std::string text = media_error([&] { load_image(path); });
    CHECK(contains(text, name));
    return text;
  };
  CHECK(contains(error_of("empty.png", ""), "empty"));
  CHECK(contains(error_of("text.png", "hello, this is text"), "expected JPEG, PNG, BMP or PNM"));
  CHECK(contains(error_of("cut.png", "\x89PNG\r\n\x1a\n"), "cannot be decoded"));
  CHECK(contains(error_of("cut.ppm", "P6\n2 2\n255\nabc"), "cannot be decoded"));
  CHECK(contains(error_of("cut2.ppm", "P6\n2 2\n255\n0123456789a"), "truncated"));
  CHECK(contains(error_of("cut.pgm", "P5\n1 1\n65535\nbb"), "16 bits"));
  CHECK(contains(error_of("cut.jpg", "\xff\xd8\xff\xe0"), "cannot be decoded"));
  CHECK(contains(error_of("huge.ppm", "P6\n99999 99999\n255\n"), "99999x99999"));
  CHECK(contains(error_of("zero.ppm", "P6\n0 5\n255\n"), "zero.ppm"));
  CHECK(contains(media_error([&] { load_image(dir / "missing.png"); }), "missing.png: No such"));
  CHECK(contains(media_error([&] { load_image(dir.path()); }), "expected an image"));

  test::write_clip(dir / "a.mjpeg", {.codec = "mjpeg", .frames = 1});
  const std::string jpeg = read_file(dir / "a.mjpeg");
  CHECK(contains(media_error([&] { load_image(dir / "a.mjpeg", 96 * 64 - 1); }), "limit is 6143"));
  // Each truncation gives an image or a MediaError.
  int images = 0;
  for (std::size_t size = 0; size <= jpeg.size(); ++size) try {
      if (decode_image(std::as_bytes(std::span(jpeg.data(), size))).width == 96) ++images;
    } catch (const MediaError& e) {
      if (!contains(e.what(), "image")) FAIL_CHECK(e.what());
    }
  CHECK(images > 0);
  CHECK(images < static_cast<int>(jpeg.size()));
}
