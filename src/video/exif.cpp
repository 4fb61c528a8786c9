#include "exif.hpp"

#include <cstdint>
#include <string_view>

#include "byte_reader.hpp"

namespace pllava::detail {

namespace {

/// The value of the orientation tag in the first directory of TIFF data, 1 (upright) if none.
std::uint64_t tiff_orientation(Bytes tiff) {
  constexpr std::uint64_t kOrientationTag = 0x112;
  constexpr std::uint64_t kShort = 3;
  if (!is_tiff(tiff)) return 1;
  const auto read = [&](std::size_t at, std::size_t size) {
    return read_integer(tiff, at, size, has(tiff, 0, "II"));
  };
  const auto directory = read(4, 4);
  if (!directory) return 1;
  const auto entries = read(*directory, 2);
  for (std::uint64_t i = 0; entries && i < *entries; ++i) {
    const std::size_t entry = *directory + 2 + 12 * i;
    const auto tag = read(entry, 2);
    if (!tag) return 1;
    if (*tag != kOrientationTag) continue;
    const auto value = read(entry + 8, 2);
    return read(entry + 2, 2) == kShort && value ? *value : 1;
  }
  return 1;
}

/// The TIFF data of the APP1 segment of a JPEG file.
Bytes jpeg_exif(Bytes file) {
  const auto read = [&](std::size_t at, std::size_t size) { return read_integer(file, at, size); };
  for (std::size_t at = 2;;) {
    const auto marker = read(at, 2);
    const auto length = read(at + 2, 2);
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
  for (;;) {
    const auto length = read_integer(file, riff ? at + 4 : at, 4, riff);
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
