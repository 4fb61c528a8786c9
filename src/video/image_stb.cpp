// Image files, decoded by stb_image. Only formats with a signature are compiled in.
#include <algorithm>
#include <cstring>
#include <fstream>
#include <initializer_list>
#include <limits>
#include <memory>
#include <new>
#include <system_error>
#include <vector>

#include "pllava/media/image_io.hpp"

#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_NO_STDIO
#define STBI_ONLY_JPEG
#define STBI_ONLY_PNG
#define STBI_ONLY_BMP
#define STBI_ONLY_PNM
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

/// Offset of the pixels of a PNM file. The header is the signature, three numbers and one blank,
/// with comments in between. Returns the size of the file if the header is truncated.
std::size_t pnm_header_size(std::span<const std::byte> file) {
  std::size_t at = 2;
  const auto is = [&](auto&& test) {
    return at < file.size() && test(static_cast<unsigned char>(file[at]));
  };
  const auto digit = [](int c) { return c >= '0' && c <= '9'; };
  for (int number = 0; number < 3; ++number) {
    while (at < file.size() && !is(digit))
      if (is([](int c) { return c == '#'; }))
        while (is([](int c) { return c != '\n'; })) ++at;
      else
        ++at;
    while (is(digit)) ++at;
  }
  return std::min(at + 1, file.size());
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

Frame decode_image(std::span<const std::byte> file, const std::string& name, Index max_pixels) {
  if (file.empty()) throw MediaError(name, "the file is empty; expected an image");
  if (!is_image(file)) throw MediaError(name, "not an image; expected JPEG, PNG, BMP or PNM");
  if (file.size() > static_cast<std::size_t>(std::numeric_limits<int>::max()))
    throw MediaError(name, "an image file of more than 2 GiB");
  const auto* bytes = reinterpret_cast<const stbi_uc*>(file.data());
  const int size = static_cast<int>(file.size());

  int width = 0;
  int height = 0;
  int channels = 0;
  const auto fail = [&]() {
    const char* reason = stbi_failure_reason();
    throw MediaError(name, std::string("the image cannot be decoded (") +
                               (reason != nullptr ? reason : "unknown reason") + ")");
  };
  if (stbi_info_from_memory(bytes, size, &width, &height, &channels) == 0) fail();
  if (width < 1 || height < 1 || Index{width} * height > max_pixels)
    throw MediaError(name, "an image of " + std::to_string(width) + "x" + std::to_string(height) +
                               " pixels; the limit is " + std::to_string(max_pixels) + " in all");
  if (file[0] == std::byte{'P'}) {  // stb_image does not check the end of PNM data or scale 16 bits
    if (stbi_is_16_bit_from_memory(bytes, size) != 0)
      throw MediaError(name, "the image cannot be decoded (PNM of 16 bits; expected 8)");
    const Index expected = Index{width} * height * channels;
    if (static_cast<Index>(file.size() - pnm_header_size(file)) < expected)
      throw MediaError(name, "the image cannot be decoded (the file is truncated)");
  }
  const std::shared_ptr<stbi_uc> pixels(
      stbi_load_from_memory(bytes, size, &width, &height, &channels, 3),
      [](stbi_uc* p) { stbi_image_free(p); });
  if (!pixels) fail();
  Frame frame = Frame::borrow(pixels.get(), width, height);
  frame.owner = pixels;
  return frame;
}

Frame load_image(const std::filesystem::path& path, Index max_pixels) {
  const std::string name = path.string();
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);
  if (error) throw MediaError(name, error.message() + "; expected an image file");
  if (size > static_cast<std::uintmax_t>(std::numeric_limits<int>::max()))
    throw MediaError(name, "an image file of more than 2 GiB");
  std::vector<std::byte> bytes;
  try {
    bytes.resize(static_cast<std::size_t>(size));
  } catch (const std::bad_alloc&) {
    throw OutOfMemoryError(name, size);
  }
  std::ifstream file(path, std::ios::binary);
  file.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  if (!file) throw MediaError(name, "the file cannot be read; expected an image");
  return decode_image(bytes, name, max_pixels);
}

}  // namespace pllava
