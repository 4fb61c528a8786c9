// Finds the files of an image sequence.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace pllava::detail {

/// Extension in lower case, with its dot.
std::string lower_extension(const std::filesystem::path& path);

/// The image files in `directory`, in natural order of their names ("frame2" before "frame10").
/// Throws MediaError naming `source`.
std::vector<std::filesystem::path> list_image_files(const std::filesystem::path& directory,
                                                    const std::string& source);

/// The files that match a pattern like "frames/%05d.jpg", in natural order; nullopt if `pattern` is
/// not a pattern. Throws MediaError naming `source`.
std::optional<std::vector<std::filesystem::path>> match_file_pattern(
    const std::filesystem::path& pattern, const std::string& source);

}  // namespace pllava::detail
