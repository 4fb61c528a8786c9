// Files and directories that are created completely or not at all, on POSIX.
#pragma once

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

#include "pllava/error.hpp"

namespace pllava::detail {

/// A temporary file that commit renames to `path`; without commit it is deleted. Its bytes are
/// flushed to the disk before the rename, so that even a power failure leaves no partial `path`.
class OutputFile {
 public:
  explicit OutputFile(std::filesystem::path path) : path_(std::move(path)), temporary_(path_) {
    static std::atomic<unsigned> serial{0};
    temporary_ += "." + std::to_string(::getpid()) + "-" + std::to_string(serial++) + ".part";
    descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (descriptor_ < 0) throw fail();
  }
  ~OutputFile() {
    if (descriptor_ >= 0) ::close(descriptor_);
    if (!committed_) ::unlink(temporary_.c_str());
  }
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  void write(const void* data, std::size_t size) {
    const auto* next = static_cast<const char*>(data);
    while (size != 0) {
      const ::ssize_t written = ::write(descriptor_, next, size);
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) throw fail();
      next += written;
      size -= static_cast<std::size_t>(written);
    }
  }
  void commit() {
    if (::fsync(descriptor_) != 0) throw fail();
    const int closed = ::close(std::exchange(descriptor_, -1));
    if (closed != 0 || ::rename(temporary_.c_str(), path_.c_str()) != 0) throw fail();
    committed_ = true;
  }

 private:
  FileError fail() const {
    return {path_.string(), "cannot be written: " + std::generic_category().message(errno)};
  }

  std::filesystem::path path_, temporary_;
  int descriptor_ = -1;
  bool committed_ = false;
};

/// A temporary directory that commit renames to `path`; without commit it is deleted.
class OutputDirectory {
 public:
  explicit OutputDirectory(std::filesystem::path path) : path_(std::move(path)), part_(path_) {
    part_ += "." + std::to_string(::getpid()) + ".part";
    std::error_code error;
    if (std::filesystem::exists(path_, error)) throw fail("exists already");
    std::filesystem::create_directories(part_, error);
    if (error) throw fail("cannot be created: " + error.message());
  }
  ~OutputDirectory() {
    std::error_code ignored;
    if (!committed_) std::filesystem::remove_all(part_, ignored);
  }
  OutputDirectory(const OutputDirectory&) = delete;
  OutputDirectory& operator=(const OutputDirectory&) = delete;

  const std::filesystem::path& part() const noexcept { return part_; }
  void commit() {
    std::error_code error;
    std::filesystem::rename(part_, path_, error);
    if (error) throw fail("cannot be created: " + error.message());
    committed_ = true;
  }

 private:
  FileError fail(const std::string& problem) const { return {path_.string(), problem}; }

  std::filesystem::path path_, part_;
  bool committed_ = false;
};

}  // namespace pllava::detail
