// Image files: JPEG, PNG and BMP, decoded by stb_image, and PNM. Only formats with a signature are
// compiled in.
#include <algorithm>
#include <cctype>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "deep_grey.hpp"
#include "exif.hpp"
#include "image_pages.hpp"
#include "over_white.hpp"
#include "pllava/media/image_io.hpp"

// Pixels that a damaged file does not define are 0, not memory of the process.
#define STBI_MALLOC(size) std::calloc(1, size)
#define STBI_REALLOC(p, size) std::realloc(p, size)
#define STBI_FREE(p) std::free(p)
#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_NO_STDIO
#define STBI_ONLY_JPEG
#define STBI_ONLY_PNG
#define STBI_ONLY_BMP
#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#endif
#if __has_include(<stb/stb_image.h>)
#include <stb/stb_image.h>
#else
#include <stb_image.h>
#endif
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

namespace pllava {
namespace {

[[noreturn]] void fail(const std::string& name, const std::string& reason) {
  throw MediaError(name, "the image cannot be decoded (" + reason + ")");
}

void check_size(const std::string& name, Index width, Index height, Index max_pixels) {
  if (width < 1 || height < 1 || width > max_pixels / height)
    throw MediaError(name, "an image of " + std::to_string(width) + "x" + std::to_string(height) +
                               " pixels; the limit is " + std::to_string(max_pixels) + " in all");
}

/// Refuses Huffman tables with more than 256 symbols: stb_image before 2.28 writes them past the
/// end of an array. Follows the segments up to the first scan as stb_image does; after it, where
/// stb_image searches for markers byte by byte, every possible table is checked.
void check_huffman_tables(std::span<const std::byte> file, const std::string& name) {
  const auto byte = [&](std::size_t at) {
    return at < file.size() ? static_cast<unsigned>(file[at]) : 0u;
  };
  const auto check = [&](std::size_t at) {  // the first byte after the marker
    const std::size_t end = at + (byte(at) << 8 | byte(at + 1));
    at += 2;
    while (at < end && at < file.size()) {
      unsigned symbols = 0;
      for (std::size_t i = 1; i <= 16; ++i) symbols += byte(at + i);
      if (symbols > 256) fail(name, "a Huffman table with " + std::to_string(symbols) + " symbols");
      at += 17 + symbols;
    }
  };
  bool in_scan = false;
  for (std::size_t at = 2; at + 4 <= file.size();) {
    if (byte(at) != 0xff) {  // data of a scan, or padding
      ++at;
      continue;
    }
    const unsigned marker = byte(at + 1);
    if (marker == 0xc4) check(at + 2);
    if (marker == 0xda) in_scan = true;
    const bool has_length = marker != 0 && marker != 0xff && (marker < 0xd0 || marker > 0xd9);
    at += in_scan || !has_length ? 1 : 2 + (byte(at + 2) << 8 | byte(at + 3));
  }
}

Frame decode_with_stb(std::span<const std::byte> file, const std::string& name, Index max_pixels) {
  const auto* bytes = reinterpret_cast<const stbi_uc*>(file.data());
  const int size = static_cast<int>(file.size());
  const bool jpeg = file[0] == std::byte{0xff};
  if (jpeg) check_huffman_tables(file, name);

  int width = 0;
  int height = 0;
  int channels = 0;
  const auto reason = [] {
    const char* text = stbi_failure_reason();
    return std::string(text != nullptr ? text : "unknown reason");
  };
  if (stbi_info_from_memory(bytes, size, &width, &height, &channels) == 0) fail(name, reason());
  check_size(name, width, height, max_pixels);
  if (channels == 1 && stbi_is_16_bit_from_memory(bytes, size) != 0) {
    const std::unique_ptr<stbi_us, void (*)(void*)> grey(
        stbi_load_16_from_memory(bytes, size, &width, &height, &channels, 1), stbi_image_free);
    if (!grey) fail(name, reason());
    return detail::rgb_from_deep_grey(grey.get(), width, height, Index{2} * width);
  }
  // Transparency is not always declared in the header that stbi_info reads.
  const int wanted = jpeg ? 3 : 4;
  const std::shared_ptr<stbi_uc> pixels(
      stbi_load_from_memory(bytes, size, &width, &height, &channels, wanted),
      [](stbi_uc* p) { stbi_image_free(p); });
  if (!pixels) fail(name, reason());
  if (!jpeg) return detail::over_white(pixels.get(), width, height, Index{4} * width);
  Frame frame = Frame::borrow(pixels.get(), width, height);
  frame.owner = pixels;
  return frame;
}

/// Binary PNM (P5, P6) of 8 or 16 bits; values are scaled from the file's maximum to 255.
Frame decode_pnm(std::span<const std::byte> file, const std::string& name, Index max_pixels) {
  std::size_t at = 2;
  const auto byte = [&](std::size_t i) { return i < file.size() ? static_cast<int>(file[i]) : -1; };
  const auto number = [&] {
    while (at < file.size() && (std::isspace(byte(at)) != 0 || byte(at) == '#'))
      if (byte(at) == '#')
        while (at < file.size() && byte(at) != '\n') ++at;
      else
        ++at;
    Index value = 0;
    const std::size_t begin = at;
    for (; at < file.size() && std::isdigit(byte(at)) != 0 && value < (Index{1} << 31); ++at)
      value = value * 10 + (byte(at) - '0');
    if (at == begin) fail(name, "the header is damaged");
    return value;
  };
  const Index width = number();
  const Index height = number();
  const Index max_value = number();
  check_size(name, width, height, max_pixels);
  if (max_value < 1 || max_value > 65535)
    fail(name, "a maximum value of " + std::to_string(max_value) + "; expected 1 to 65535");
  ++at;  // one blank
  const std::size_t channels = byte(1) == '6' ? 3 : 1;
  const int copies = channels == 1 ? 3 : 1;
  const std::size_t depth = max_value > 255 ? 2 : 1;
  const std::size_t values = static_cast<std::size_t>(width * height) * channels;
  if (at > file.size() || file.size() - at < values * depth) fail(name, "the file is truncated");

  if (channels == 1 && max_value == 65535) {
    std::vector<std::uint16_t> grey(values);
    for (std::uint16_t& value : grey) {
      value = static_cast<std::uint16_t>(byte(at) << 8 | byte(at + 1));
      at += 2;
    }
    return detail::rgb_from_deep_grey(grey.data(), width, height, 2 * width);
  }
  std::vector<std::uint8_t> pixels(values / channels * 3);
  for (std::size_t i = 0, out = 0; i < values; ++i, at += depth) {
    const int value = depth == 2 ? byte(at) << 8 | byte(at + 1) : byte(at);
    const auto scaled = static_cast<std::uint8_t>(
        (std::min<Index>(value, max_value) * 255 + max_value / 2) / max_value);
    for (int copy = 0; copy < copies; ++copy) pixels[out++] = scaled;
  }
  return Frame::own(std::move(pixels), width, height);
}

}  // namespace

bool is_image(std::span<const std::byte> head) noexcept {
  const auto starts = [&](std::initializer_list<int> signature) {
    if (head.size() < signature.size()) return false;
    std::size_t i = 0;
    for (const int b : signature)
      if (head[i++] != static_cast<std::byte>(b)) return false;
    return true;
  };
  return starts({0xff, 0xd8, 0xff}) || starts({0x89, 'P', 'N', 'G'}) || starts({'B', 'M'}) ||
         starts({'P', '5'}) || starts({'P', '6'});
}

Frame decode_image(std::span<const std::byte> file, const std::string& name,
                   const ImageOptions& options) {
  if (file.empty()) throw MediaError(name, "the file is empty; expected an image");
  if (!is_image(file)) throw MediaError(name, "not an image; expected JPEG, PNG, BMP or PNM");
  if (file.size() > static_cast<std::size_t>(std::numeric_limits<int>::max()))
    throw MediaError(name, "an image file of more than 2 GiB");
  const Frame frame = file[0] == std::byte{'P'} ? decode_pnm(file, name, options.max_pixels)
                                                : decode_with_stb(file, name, options.max_pixels);
  const detail::Orientation orientation =
      options.apply_orientation ? detail::exif_orientation(file) : detail::Orientation{};
  return orientation.identity() ? frame : orientation.apply(frame);
}

Frame load_image(const std::filesystem::path& path, const ImageOptions& options) {
  const std::string name = path.string();
  return decode_image(detail::read_image_file(path), name, options);
}

}  // namespace pllava
