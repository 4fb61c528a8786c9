// Lists and removes directories. Unlike the iterators of libstdc++ and its remove_all, which call
// std::terminate when memory is exhausted, these functions throw std::bad_alloc.
#pragma once

#include <cerrno>
#include <filesystem>
#include <memory>
#include <string_view>
#include <system_error>
#include <vector>

#include <dirent.h>

namespace pllava::detail {

/// The paths of the entries of `directory`, in no order. If it cannot be read, `error` is set and
/// the result is empty.
inline std::vector<std::filesystem::path> list_directory(const std::filesystem::path& directory,
                                                         std::error_code& error) {
  const auto close = [](::DIR* d) { ::closedir(d); };
  std::vector<std::filesystem::path> paths;
  const std::unique_ptr<::DIR, decltype(close)> stream(::opendir(directory.c_str()), close);
  errno = stream ? 0 : errno;
  // readdir is safe: no other thread has this stream.
  while (const ::dirent* entry = stream ? ::readdir(stream.get()) : nullptr) {  // NOLINT
    const std::string_view name(entry->d_name);
    if (name != "." && name != "..") paths.push_back(directory / name);
    errno = 0;
  }
  error.assign(errno, std::generic_category());
  if (error) paths.clear();
  return paths;
}

/// Removes a file, a link, or a directory with its contents, as far as that is possible.
inline void remove_tree(const std::filesystem::path& path) {
  std::error_code ignored;
  if (std::filesystem::is_directory(std::filesystem::symlink_status(path, ignored)))
    for (const std::filesystem::path& entry : list_directory(path, ignored)) remove_tree(entry);
  std::filesystem::remove(path, ignored);
}

}  // namespace pllava::detail
