// Files that appear whole or not at all, on POSIX.
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

/// A temporary file that becomes `path` on commit, or vanishes. Its bytes reach the disk before the
/// name does, so that not even a power failure leaves `path` half written.
class NewFile {
 public:
  explicit NewFile(std::filesystem::path path) : path_(std::move(path)), temporary_(path_) {
    static std::atomic<unsigned> serial{0};
    temporary_ += "." + std::to_string(::getpid()) + "-" + std::to_string(serial++) + ".part";
    descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (descriptor_ < 0) throw fail();
  }
  ~NewFile() {
    if (descriptor_ >= 0) ::close(descriptor_);
    if (!committed_) ::unlink(temporary_.c_str());
  }
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

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
  LoadError fail() const {
    return {"cannot be written: " + std::generic_category().message(errno),
            {.file = path_.string(), .tensor = {}, .expected = {}, .got = {}}};
  }

  std::filesystem::path path_, temporary_;
  int descriptor_ = -1;
  bool committed_ = false;
};

}  // namespace pllava::detail
