// Finds the files of an image sequence.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace pllava::detail {

/// Extension in lower case, with its dot.
std::string lower_extension(const std::filesystem::path& path);

/// The files of an image sequence, in natural order of their names ("frame2" before "frame10").
struct ImageFiles {
  std::vector<std::filesystem::path> images;
  std::vector<std::filesystem::path> others;  ///< visible files without the name of an image
};

/// The files in `directory`. Throws MediaError naming `source`.
ImageFiles list_image_files(const std::filesystem::path& directory, const std::string& source);

/// The files that match a pattern like "frames/%05d.jpg"; nullopt if `pattern` is not a pattern.
/// Throws MediaError naming `source`.
std::optional<ImageFiles> match_file_pattern(const std::filesystem::path& pattern,
                                             const std::string& source);

}  // namespace pllava::detail
