#include "image_pages.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <fstream>
#include <limits>
#include <new>
#include <set>
#include <string>
#include <system_error>
#include <utility>

#include "byte_reader.hpp"
#include "deep_grey.hpp"
#include "exif.hpp"
#include "ffmpeg_handles.hpp"
#include "frame_converter.hpp"
#include "pllava/media/image_io.hpp"
#include "still_image.hpp"

namespace pllava::detail {

namespace fs = std::filesystem;

namespace {

/// The offsets of the directories of a TIFF file, one for each page. They are a linked list; stops
/// at a cycle.
std::vector<std::size_t> tiff_directories(Bytes file) {
  constexpr std::size_t kMaxPages = 65535;
  const bool little_endian = has(file, 0, "II");
  const auto integer = [&](std::size_t at, std::size_t size) {
    return static_cast<std::size_t>(read_integer(file, at, size, little_endian).value_or(0));
  };
  std::vector<std::size_t> directories;
  std::set<std::size_t> seen;
  for (std::size_t at = integer(4, 4); at != 0 && directories.size() < kMaxPages;) {
    const std::size_t entries = integer(at, 2);
    if (entries == 0 || !seen.insert(at).second) break;
    directories.push_back(at);
    at = integer(at + 2 + entries * 12, 4);
  }
  return directories;
}

/// Makes the directory at `offset` the first of a TIFF file.
void set_first_directory(std::span<std::uint8_t> file, std::size_t offset) {
  const bool little_endian = file[0] == 'I';
  for (std::size_t i = 0; i < 4; ++i)
    file[4 + i] = static_cast<std::uint8_t>(offset >> 8 * (little_endian ? i : 3 - i));
}

/// Decodes a page of a TIFF or WebP file with FFmpeg.
Frame decode_with_ffmpeg(Bytes file, const ImagePage& page, const VideoOptions& options) {
  const std::string name = page.path.string();
  if (is_animated_webp(file))
    throw MediaError(name,
                     "is an animated WebP; open it by itself, it is not one image of several");
  std::vector<std::byte> copy;
  if (page.page > 0) {
    copy.assign(file.begin(), file.end());
    set_first_directory({reinterpret_cast<std::uint8_t*>(copy.data()), copy.size()},
                        tiff_directories(file).at(static_cast<std::size_t>(page.page)));
    file = copy;
  }
  const auto frame = decode_still_image(file, is_tiff(file) ? AV_CODEC_ID_TIFF : AV_CODEC_ID_WEBP,
                                        name, options.max_pixels);
  if (frame->format == AV_PIX_FMT_GRAY16LE || frame->format == AV_PIX_FMT_GRAY16BE) {
    constexpr bool kIsLittleEndian = std::endian::native == std::endian::little;
    std::uint8_t* const data = frame->data[0];
    if ((frame->format == AV_PIX_FMT_GRAY16LE) != kIsLittleEndian)
      for (std::ptrdiff_t i = 0; i + 1 < std::ptrdiff_t{frame->linesize[0]} * frame->height; i += 2)
        std::swap(data[i], data[i + 1]);
    return rgb_from_deep_grey(data, frame->width, frame->height, frame->linesize[0]);
  }
  return FrameConverter().to_rgb(*frame, {}, name);
}

}  // namespace

bool is_still_image(Bytes head) noexcept {
  return is_image(head) || is_tiff(head) || (has(head, 0, "RIFF") && has(head, 8, "WEBP"));
}

bool is_animated_png(std::istream& file) {
  std::array<unsigned char, 8> head{};  // the signature, then length and name of each chunk
  const auto read = [&] {
    file.read(reinterpret_cast<char*>(head.data()), head.size());
    return !file.fail();
  };
  if (!read() || !has(std::as_bytes(std::span(head)), 0, "\x89PNG\r\n\x1a\n")) return false;
  while (read()) {
    const Bytes name = std::as_bytes(std::span(head)).subspan(4);
    if (has(name, 0, "acTL")) return true;
    if (has(name, 0, "IDAT")) return false;
    const std::uint32_t length = std::uint32_t{head[0]} << 24 | std::uint32_t{head[1]} << 16 |
                                 std::uint32_t{head[2]} << 8 | head[3];
    file.seekg(std::streamoff{length} + 4, std::ios::cur);  // data and checksum
  }
  return false;
}

bool is_animated_webp(Bytes head) noexcept {
  constexpr std::size_t kFlags = 20;
  constexpr auto kAnimation = std::byte{2};
  return has(head, 0, "RIFF") && has(head, 8, "WEBPVP8X") && head.size() > kFlags &&
         (head[kFlags] & kAnimation) != std::byte{0};
}

int count_pages(const fs::path& path) {
  std::array<char, 4> head{};
  std::ifstream(path, std::ios::binary).read(head.data(), head.size());
  return is_tiff(std::as_bytes(std::span(head))) ? count_pages(read_image_file(path)) : 1;
}

int count_pages(Bytes file) {
  if (!is_tiff(file)) return 1;
  return std::max(static_cast<int>(tiff_directories(file).size()), 1);
}

Frame read_page(const ImagePage& page, const VideoOptions& options) {
  const std::vector<std::byte> from_disk =
      page.bytes == nullptr ? read_image_file(page.path) : std::vector<std::byte>();
  const std::vector<std::byte>& file = page.bytes == nullptr ? from_disk : *page.bytes;
  if (is_image(file) || !is_still_image(file))
    return decode_image(
        file, page.path.string(),
        {.max_pixels = options.max_pixels, .apply_orientation = options.apply_orientation});
  const Frame frame = decode_with_ffmpeg(file, page, options);
  const Orientation orientation =
      options.apply_orientation ? exif_orientation(file) : Orientation{};
  return orientation.identity() ? frame : orientation.apply(frame);
}

std::vector<std::byte> read_image_file(const fs::path& path) {
  const std::string name = path.string();
  std::error_code error;
  const auto size = fs::file_size(path, error);
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
  return bytes;
}

}  // namespace pllava::detail
