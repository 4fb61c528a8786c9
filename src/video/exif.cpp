#include "exif.hpp"

#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>

namespace pllava::detail {

namespace {

using Bytes = std::span<const std::byte>;

/// Bounds-checked access to integers of either byte order.
class Reader {
 public:
  Reader(Bytes bytes, bool little_endian) : bytes_(bytes), little_endian_(little_endian) {}

  std::optional<std::uint32_t> integer(std::size_t at, std::size_t size) const {
    if (at > bytes_.size() || size > bytes_.size() - at) return std::nullopt;
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < size; ++i) {
      const std::size_t k = little_endian_ ? size - 1 - i : i;
      value = value << 8 | static_cast<std::uint32_t>(bytes_[at + k]);
    }
    return value;
  }

 private:
  Bytes bytes_;
  bool little_endian_;
};

bool has(Bytes bytes, std::size_t at, std::string_view text) {
  return at <= bytes.size() && text.size() <= bytes.size() - at &&
         std::memcmp(bytes.data() + at, text.data(), text.size()) == 0;
}

/// The value of the orientation tag in the first directory of TIFF data, 1 (upright) if none.
std::uint32_t tiff_orientation(Bytes tiff) {
  constexpr std::uint32_t kOrientationTag = 0x112;
  constexpr std::uint32_t kShort = 3;
  const bool little_endian = has(tiff, 0, {"II*\0", 4});
  if (!little_endian && !has(tiff, 0, {"MM\0*", 4})) return 1;
  const Reader read(tiff, little_endian);
  const auto directory = read.integer(4, 4);
  if (!directory) return 1;
  const auto entries = read.integer(*directory, 2);
  for (std::uint32_t i = 0; entries && i < *entries; ++i) {
    const std::size_t entry = std::size_t{*directory} + 2 + std::size_t{12} * i;
    const auto tag = read.integer(entry, 2);
    if (!tag) return 1;
    if (*tag != kOrientationTag) continue;
    const auto value = read.integer(entry + 8, 2);
    return read.integer(entry + 2, 2) == kShort && value ? *value : 1;
  }
  return 1;
}

/// The TIFF data of the APP1 segment of a JPEG file.
Bytes jpeg_exif(Bytes file) {
  const Reader read(file, false);
  for (std::size_t at = 2;;) {
    const auto marker = read.integer(at, 2);
    const auto length = read.integer(at + 2, 2);
    if (!marker || !length || *marker >> 8 != 0xff || *length < 2) return {};
    if (*marker == 0xffff) {  // padding
      ++at;
      continue;
    }
    if (*marker == 0xffda) return {};  // start of scan
    const std::size_t end = at + 2 + *length;
    if (*marker == 0xffe1 && has(file, at + 4, {"Exif\0\0", 6}) && end <= file.size())
      return file.subspan(at + 10, end > at + 10 ? end - at - 10 : 0);
    at = end;
  }
}

/// The data of the first chunk with this name, in a file of chunks that start at `at`: name and
/// length in the order of PNG or of RIFF.
Bytes chunk(Bytes file, std::size_t at, std::string_view name, bool riff) {
  const Reader read(file, riff);
  for (;;) {
    const auto length = read.integer(riff ? at + 4 : at, 4);
    if (!length) return {};
    const std::size_t data = at + 8;
    if (data > file.size()) return {};
    if (has(file, riff ? at : at + 4, name))
      return *length <= file.size() - data ? file.subspan(data, *length) : Bytes{};
    at = data + *length + (riff ? *length % 2 : 4);  // padding or checksum
    if (at >= file.size()) return {};
  }
}

Bytes exif_data(Bytes file) {
  if (has(file, 0, "\xff\xd8")) return jpeg_exif(file);
  if (has(file, 0, "\x89PNG\r\n\x1a\n")) return chunk(file, 8, "eXIf", false);
  if (has(file, 0, "RIFF") && has(file, 8, "WEBP")) {
    const Bytes data = chunk(file, 12, "EXIF", true);
    return has(data, 0, {"Exif\0\0", 6}) ? data.subspan(6) : data;
  }
  return file;  // TIFF, or no format with EXIF data
}

}  // namespace

Orientation exif_orientation(Bytes file) {
  switch (tiff_orientation(exif_data(file))) {
    case 2: return {.mirror_x = true};
    case 3: return {.mirror_x = true, .mirror_y = true};
    case 4: return {.mirror_y = true};
    case 5: return {.transpose = true};
    case 6: return {.transpose = true, .mirror_x = true};
    case 7: return {.transpose = true, .mirror_x = true, .mirror_y = true};
    case 8: return {.transpose = true, .mirror_y = true};
    default: return {};
  }
}

}  // namespace pllava::detail
