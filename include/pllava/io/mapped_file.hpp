// A file mapped into memory, read-only.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

#include "pllava/config.hpp"

namespace pllava {

/// A whole file mapped read-only; unmapped on destruction. Safe to read from several threads. The
/// file must not be truncated while it is mapped: reading missing pages raises SIGBUS.
class MappedFile {
 public:
  /// Maps `path`. Throws LoadError: no such file, not a regular file, no permission.
  static std::shared_ptr<const MappedFile> open(const std::filesystem::path& path);

  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const noexcept { return {data_, size_}; }
  const std::string& path() const noexcept { return path_; }

  /// Releases the pages of this range to the system. The next access reads them from the file
  /// again, so the bytes do not change.
  void release(std::size_t offset, std::size_t size) const noexcept;

 private:
  explicit MappedFile(std::string path) : path_(std::move(path)) {}

  std::string path_;
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace pllava

#ifndef PLLAVA_COMPILED
#include "pllava/io/detail/mapped_file_inl.hpp"
#endif
