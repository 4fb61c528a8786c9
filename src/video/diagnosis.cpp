#include "diagnosis.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <fstream>
#include <span>
#include <string_view>

#include "byte_reader.hpp"
#include "pllava/io/detail/stand_in.hpp"

namespace pllava::detail {

namespace {

/// What the top-level boxes of an MP4 or QuickTime file say about it. Empty if they are complete.
std::string diagnose_boxes(std::ifstream& file, std::uint64_t file_size) {
  bool has_moov = false;
  for (std::uint64_t at = 0; at + 8 <= file_size;) {
    std::array<unsigned char, 16> head{};
    file.clear();
    file.seekg(static_cast<std::streamoff>(at));
    file.read(reinterpret_cast<char*>(head.data()), head.size());
    const auto integer = [&](std::size_t begin, std::size_t size) {
      return read_integer(std::as_bytes(std::span(head)), begin, size).value_or(0);
    };
    const std::string_view name(reinterpret_cast<const char*>(head.data()) + 4, 4);
    std::uint64_t size = integer(0, 4);
    if (size == 1) size = integer(8, 8);
    if (size == 0) size = file_size - at;
    if (name == "moov" || name == "moof") has_moov = true;
    if (size < 8) break;
    if (size > file_size - at) {
      return has_moov ? "is cut: " + std::to_string(file_size) + " of at least " +
                            std::to_string(at) + " + " + std::to_string(size) + " bytes"
                      : "has no index (moov box) and is cut: the recording or the download was not "
                        "finished";
    }
    at += size;
  }
  return has_moov ? "" : "has no index (moov box): the recording was not finished";
}

}  // namespace

std::string diagnose_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  const auto file_size = static_cast<std::uint64_t>(std::max<std::streamoff>(file.tellg(), 0));
  std::array<char, kStandInBytes> bytes{};
  file.seekg(0);
  file.read(bytes.data(), bytes.size());
  const std::string_view head(bytes.data(), static_cast<std::size_t>(file.gcount()));

  if (std::string stand_in = describe_stand_in(head, "video"); !stand_in.empty()) return stand_in;
  if (lower_begin(head).starts_with("#extm3u")) return "is a playlist, which names other files";
  if (head.size() >= 12 && head.substr(4, 4) == "ftyp") {
    const std::string_view brand = head.substr(8, 4);
    for (const char* heif : {"heic", "heix", "heim", "heis", "mif1", "avif"})
      if (brand == heif)
        return std::string(brand == "avif" ? "is an AVIF image" : "is a HEIC image") +
               ", which this FFmpeg does not read; convert it to JPEG or PNG";
    return diagnose_boxes(file, file_size);
  }
  return "";
}

}  // namespace pllava::detail
