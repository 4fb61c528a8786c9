#include "diagnosis.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdint>
#include <fstream>
#include <span>
#include <string_view>

#include "byte_reader.hpp"

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
  std::array<char, 256> bytes{};
  file.seekg(0);
  file.read(bytes.data(), bytes.size());
  const std::string_view head(bytes.data(), static_cast<std::size_t>(file.gcount()));

  std::string text;  // without leading blanks and byte order mark, in lower case
  for (const char c : head)
    if (!text.empty() || (static_cast<unsigned char>(c) < 0x80 && c > ' '))
      text += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  if (text.starts_with("<!doctype html") || text.starts_with("<html"))
    return "is an HTML page; was the page of the video downloaded in place of the video?";
  if (text.starts_with("version https://git-lfs"))
    return "is a Git LFS pointer; \"git lfs pull\" fetches the file";
  if (text.starts_with("#extm3u")) return "is a playlist, which names other files";
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
