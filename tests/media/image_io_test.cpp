// Image files, valid and damaged. The JPEG file comes from FFmpeg's encoder.
#include "pllava/media/image_io.hpp"

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <span>
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

std::string big_endian(std::uint32_t value) {
  std::string text;
  for (int shift = 24; shift >= 0; shift -= 8) text += static_cast<char>(value >> shift);
  return text;
}

/// A chunk of a PNG file. The checksum is 0; the decoder does not check it.
std::string chunk(const std::string& name, const std::string& data) {
  return big_endian(static_cast<std::uint32_t>(data.size())) + name + data + std::string(4, '\0');
}

/// A PNG file of 8-bit RGBA, stored without compression.
std::string rgba_png(int width, int height, const std::string& pixels,
                     const std::string& exif = {}) {
  std::string rows;
  const auto row_bytes = static_cast<std::size_t>(4 * width);
  for (int y = 0; y < height; ++y)
    rows += '\0' + pixels.substr(static_cast<std::size_t>(y) * row_bytes, row_bytes);
  const auto size = static_cast<unsigned>(rows.size());
  std::string stored = {'\x78', '\x01', '\x01'};  // zlib header, last stored block
  for (const unsigned part : {size & 255, size >> 8, ~size & 255, ~size >> 8 & 255})
    stored += static_cast<char>(part);
  stored += rows + std::string(4, '\0');  // checksum
  return "\x89PNG\r\n\x1a\n" +
         chunk("IHDR", big_endian(static_cast<std::uint32_t>(width)) +
                           big_endian(static_cast<std::uint32_t>(height)) +
                           std::string("\x08\x06\0\0\0", 5)) +
         (exif.empty() ? "" : chunk("eXIf", exif)) + chunk("IDAT", stored) + chunk("IEND", "");
}

/// TIFF data with one tag, the orientation.
std::string tiff_header(int orientation, bool little_endian) {
  const auto number = [&](std::uint32_t value, std::size_t bytes) {
    std::string text = big_endian(value).substr(4 - bytes);
    if (little_endian) std::reverse(text.begin(), text.end());
    return text;
  };
  return (little_endian ? "II" : "MM") + number(42, 2) + number(8, 4) + number(1, 2) +
         number(0x112, 2) + number(3, 2) + number(1, 4) +
         number(static_cast<std::uint32_t>(orientation), 2) + number(0, 2) + number(0, 4);
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

TEST_CASE("PNM values are scaled from the file's maximum to 255", "[image_io]") {
  const test::TempDirectory dir;
  const auto grey = [&](const std::string& bytes) {
    const std::vector<int> rgb = pixels_of(load_image(dir.write("a.pgm", bytes)));
    std::vector<int> values;
    for (std::size_t i = 0; i < rgb.size(); i += 3) {
      CHECK((rgb[i] == rgb[i + 1] && rgb[i] == rgb[i + 2]));
      values.push_back(rgb[i]);
    }
    return values;
  };
  CHECK(grey("P5\n3 1\n200\n" + std::string("\x00\x64\xc8", 3)) == std::vector<int>{0, 128, 255});
  CHECK(grey("P5\n3 1\n65535\n" + std::string("\x00\x00\x80\x00\xff\xff", 6)) ==
        std::vector<int>{0, 128, 255});
  CHECK(pixels_of(load_image(
            dir.write("a.ppm", "P6\n1 1\n1023\n" + std::string("\x00\x00\x01\xff\x03\xff", 6)))) ==
        std::vector<int>{0, 127, 255});
}

TEST_CASE("16-bit grey uses the range of the bits in use", "[image_io]") {
  const auto grey = [](int max) {
    const auto byte = [](int value) { return static_cast<char>(value); };
    const std::string pgm = std::string("P5\n2 1\n65535\n") + byte(max / 2 >> 8) + byte(max / 2) +
                            byte(max >> 8) + byte(max);
    const Frame f = decode_image(std::as_bytes(std::span(pgm.data(), pgm.size())));
    return std::vector<int>{f.data[0], f.data[3]};
  };
  CHECK(grey(1023) == std::vector<int>{127, 255});
  CHECK(grey(4095) == std::vector<int>{127, 255});
  CHECK(grey(3000) == std::vector<int>{93, 187});
  CHECK(grey(65535) == std::vector<int>{127, 255});
}

TEST_CASE("Transparent pixels are over white", "[image_io]") {
  // RGBA: opaque, half transparent and transparent black.
  const std::string png = rgba_png(3, 1, std::string("\x0a\x14\x1e\xff\0\0\0\x80\0\0\0\0", 12));
  const Frame frame = decode_image(std::as_bytes(std::span(png.data(), png.size())));
  CHECK(pixels_of(frame) == std::vector<int>{10, 20, 30, 127, 127, 127, 255, 255, 255});
}

TEST_CASE("The EXIF orientation is applied", "[image_io]") {
  // 2 x 1 pixels, black and white, in every orientation: size, and whether black is first.
  const struct {
    int orientation, width;
    bool black_first;
  } cases[] = {{1, 2, true}, {2, 2, false}, {3, 2, false}, {4, 2, true}, {5, 1, true},
               {6, 1, true}, {7, 1, false}, {8, 1, false}, {9, 2, true}, {0, 2, true}};
  for (const auto& c : cases)
    for (const bool little_endian : {false, true}) {
      CAPTURE(c.orientation, little_endian);
      const std::string exif = tiff_header(c.orientation, little_endian);
      const std::string png = rgba_png(2, 1, std::string("\0\0\0\xff\xff\xff\xff\xff", 8), exif);
      const auto bytes = std::as_bytes(std::span(png.data(), png.size()));
      const Frame frame = decode_image(bytes);
      CHECK(frame.width == c.width);
      CHECK(frame.height == 3 - c.width);
      CHECK(frame.data[0] == (c.black_first ? 0 : 255));
      CHECK(decode_image(bytes, "raw", {.apply_orientation = false}).width == 2);
    }

  const test::TempDirectory dir;  // the same tag in a JPEG file
  test::write_clip(dir / "a.mjpeg", {.codec = "mjpeg", .frames = 1});
  std::string jpeg = read_file(dir / "a.mjpeg");
  const std::string exif = std::string("Exif\0\0", 6) + tiff_header(6, true);
  const auto length = static_cast<char>(exif.size() + 2);
  jpeg.insert(2, std::string("\xff\xe1\0", 3) + length + exif);
  const Frame turned = load_image(dir.write("a.jpg", jpeg));
  CHECK(turned.width == 64);
  CHECK(turned.height == 96);
  // A damaged tag is ignored.
  CHECK(
      load_image(dir.write("b.jpg", std::string(jpeg).replace(20, 4, "\xff\xff\xff\xff"))).width ==
      96);
}

TEST_CASE("A JPEG with too many Huffman symbols is refused", "[image_io]") {
  const test::TempDirectory dir;
  test::write_clip(dir / "a.mjpeg", {.codec = "mjpeg", .frames = 1});
  const std::string jpeg = read_file(dir / "a.mjpeg");
  const std::string counts(16, '\x11');  // 16 * 17 = 272 symbols
  const std::string table = std::string("\xff\xc4\x01\x23\x00", 5) + counts + std::string(272, 'x');
  CHECK(contains(
      media_error([&] { load_image(dir.write("b.jpg", std::string(jpeg).insert(2, table))); }),
      "272 symbols"));
  // Between the scans of a progressive image stb_image searches for tables.
  CHECK(contains(media_error([&] {
                   load_image(dir.write("c.jpg", std::string(jpeg).insert(jpeg.size() - 2, table)));
                 }),
                 "272 symbols"));
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
  CHECK(contains(error_of("cut.pgm", "P5\n1 1\n65535\nb"), "truncated"));
  CHECK(contains(error_of("zero.pgm", "P5\n1 1\n0\nb"), "maximum value of 0"));
  CHECK(contains(error_of("cut.jpg", "\xff\xd8\xff\xe0"), "cannot be decoded"));
  CHECK(contains(error_of("huge.ppm", "P6\n99999 99999\n255\n"), "99999x99999"));
  CHECK(contains(error_of("zero.ppm", "P6\n0 5\n255\n"), "zero.ppm"));
  CHECK(contains(media_error([&] { load_image(dir / "missing.png"); }), "missing.png: No such"));
  CHECK(contains(media_error([&] { load_image(dir.path()); }), "expected an image"));

  test::write_clip(dir / "a.mjpeg", {.codec = "mjpeg", .frames = 1});
  const std::string jpeg = read_file(dir / "a.mjpeg");
  CHECK(contains(media_error([&] { load_image(dir / "a.mjpeg", {.max_pixels = 96 * 64 - 1}); }),
                 "limit is 6143"));
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
