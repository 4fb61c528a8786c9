// Recognizes what a failed download leaves in the place of a file.
#pragma once

#include <cctype>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <system_error>

#include "pllava/error.hpp"

namespace pllava::detail {

inline constexpr std::size_t kStandInBytes = 256;  // of a file's begin, to be looked at

/// The begin of a text without leading blanks and byte order mark, in lower case.
inline std::string lower_begin(std::string_view head) {
  std::string text;
  for (const char c : head.substr(0, kStandInBytes))
    if (!text.empty() || (static_cast<unsigned char>(c) < 0x80 && c > ' '))
      text += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

/// What stands in the place of a file that begins with `head`, as the end of a message. Empty if it
/// is not known. `kind` is what the file should be: "video", "file".
inline std::string describe_stand_in(std::string_view head, const std::string& kind) {
  const std::string text = lower_begin(head);
  if (text.starts_with("<!doctype html") || text.starts_with("<html"))
    return "is an HTML page; was the page of the " + kind + " downloaded in place of the " + kind +
           "?";
  if (text.starts_with("version https://git-lfs"))
    return "is a Git LFS pointer; \"git lfs pull\" fetches the file";
  return {};
}

/// Throws LoadError if the content `head` of `file` is that of a stand-in.
inline void refuse_stand_in(std::string_view head, const std::string& file) {
  const std::string problem = describe_stand_in(head, "file");
  if (!problem.empty())
    throw LoadError(problem, {.file = file, .tensor = {}, .expected = {}, .got = {}});
}

/// The same for a file, which need not exist.
inline void refuse_stand_in(const std::filesystem::path& path) {
  std::error_code error;  // opening a named pipe would wait for a writer
  if (!std::filesystem::is_regular_file(path, error)) return;
  std::string head(kStandInBytes, '\0');
  std::ifstream file(path, std::ios::binary);
  file.read(head.data(), static_cast<std::streamsize>(head.size()));
  refuse_stand_in(std::string_view(head).substr(0, static_cast<std::size_t>(file.gcount())),
                  path.string());
}

}  // namespace pllava::detail
