#include "image_files.hpp"

#include <algorithm>
#include <cctype>
#include <string_view>
#include <system_error>

#include "pllava/io/detail/directory.hpp"
#include "source.hpp"

namespace pllava::detail {

namespace fs = std::filesystem;

namespace {

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

/// Compares runs of digits by their number and other characters by their code.
bool natural_less(const std::string& a, const std::string& b) {
  std::size_t i = 0;
  std::size_t j = 0;
  while (i < a.size() && j < b.size()) {
    if (is_digit(a[i]) && is_digit(b[j])) {
      const auto digits = [](const std::string& s, std::size_t& p) {
        while (p < s.size() && s[p] == '0') ++p;
        const std::size_t begin = p;
        while (p < s.size() && is_digit(s[p])) ++p;
        return std::string_view(s).substr(begin, p - begin);
      };
      const std::string_view x = digits(a, i);
      const std::string_view y = digits(b, j);
      if (x.size() != y.size()) return x.size() < y.size();
      if (x != y) return x < y;
    } else {
      if (a[i] != b[j]) return a[i] < b[j];
      ++i;
      ++j;
    }
  }
  const std::size_t rest_a = a.size() - i;
  const std::size_t rest_b = b.size() - j;
  return rest_a != rest_b ? rest_a < rest_b : a < b;
}

bool has_image_name(const fs::path& path) {
  const std::string extension = lower_extension(path);
  for (const char* known :
       {".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm", ".pnm", ".webp", ".tif", ".tiff"})
    if (extension == known) return path.filename().string().front() != '.';
  return false;
}

/// The files of `directory` that `accept` selects, in natural order of their names.
template <class Accept>
std::vector<fs::path> list_files(const fs::path& directory, const std::string& source,
                                 Accept&& accept) {
  std::vector<fs::path> files;
  std::error_code error;
  for (const fs::path& file : list_directory(directory, error)) {
    std::error_code ignored;
    if (accept(file) && !fs::is_directory(file, ignored)) files.push_back(file);
  }
  if (error) throw MediaError(source, error.message() + "; " + kExpectedSource);
  std::sort(files.begin(), files.end(), [](const fs::path& a, const fs::path& b) {
    return natural_less(a.filename().string(), b.filename().string());
  });
  return files;
}

}  // namespace

std::string lower_extension(const fs::path& path) {
  std::string text = path.extension().string();
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

ImageFiles list_image_files(const fs::path& directory, const std::string& source) {
  return {list_files(directory, source, has_image_name),
          list_files(directory, source, [](const fs::path& path) {
            return !has_image_name(path) && path.filename().string().front() != '.';
          })};
}

std::optional<ImageFiles> match_file_pattern(const fs::path& pattern, const std::string& source) {
  const std::string file = pattern.filename().string();
  const std::size_t begin = file.find('%');
  if (begin == std::string::npos) return std::nullopt;
  std::size_t end = begin + 1;
  while (end < file.size() && is_digit(file[end])) ++end;
  if (end == file.size() || file[end] != 'd') return std::nullopt;
  const std::string prefix = file.substr(0, begin);
  const std::string suffix = file.substr(end + 1);
  const fs::path directory = pattern.has_parent_path() ? pattern.parent_path() : fs::path(".");
  const auto matches = [&](const fs::path& path) {
    const std::string name = path.filename().string();
    return name.size() > prefix.size() + suffix.size() && name.starts_with(prefix) &&
           name.ends_with(suffix) &&
           std::all_of(name.begin() + static_cast<std::ptrdiff_t>(prefix.size()),
                       name.end() - static_cast<std::ptrdiff_t>(suffix.size()), is_digit);
  };
  return ImageFiles{list_files(directory, source, matches), {}};
}

}  // namespace pllava::detail
