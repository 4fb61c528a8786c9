// Files and directories that are created completely or not at all, on POSIX. What exists under the
// name must be a regular file; links, FIFOs and devices are not replaced.
#pragma once

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "pllava/error.hpp"
#include "pllava/io/detail/descriptor.hpp"
#include "pllava/io/detail/directory.hpp"

namespace pllava::detail {

/// Flushes a file or directory to the disk. Returns false and sets errno after an error; file
/// systems that cannot flush directories are no error.
inline bool flush_to_disk(const std::filesystem::path& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  return file && (::fsync(file.number()) == 0 || errno == EINVAL);
}

/// The directory of `path`.
inline std::filesystem::path directory_of(const std::filesystem::path& path) {
  return path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
}

/// A name next to `path` for its contents until they are complete: "path.PID-N.part".
inline std::filesystem::path part_name(const std::filesystem::path& path) {
  static std::atomic<unsigned> serial{0};
  std::filesystem::path part = path;
  part += "." + std::to_string(::getpid()) + "-" + std::to_string(serial++) + ".part";
  return part;
}

/// Locks a new part against remove_abandoned_parts. False if that removed it before it was locked.
inline bool lock_part(const Descriptor& descriptor, const std::filesystem::path& part) {
  if (descriptor) ::flock(descriptor.number(), LOCK_EX);  // without locks, nothing is removed
  return ::access(part.c_str(), F_OK) == 0;
}

/// Removes parts of `path` whose writers were killed. A writer holds a lock on its part.
inline void remove_abandoned_parts(const std::filesystem::path& path) {
  const std::string prefix = path.filename().string() + ".";
  std::error_code ignored;
  for (const std::filesystem::path& file : list_directory(directory_of(path), ignored)) {
    const std::string name = file.filename().string();
    if (!name.starts_with(prefix) || !name.ends_with(".part") ||
        name.find_first_not_of("0123456789-", prefix.size()) != name.size() - 5)
      continue;
    const Descriptor part(::open(file.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    if (!part || ::flock(part.number(), LOCK_EX | LOCK_NB) != 0) continue;
    remove_tree(file);
  }
}

/// A temporary file that commit renames to `path`; without commit it is deleted. Its bytes are
/// flushed to the disk before the rename, so that even a power failure leaves no partial `path`.
class OutputFile {
 public:
  /// Throws FileError: the file cannot be created, or `path` is not a regular file.
  explicit OutputFile(std::filesystem::path path) : path_(std::move(path)) {
    std::error_code error;
    const auto status = std::filesystem::symlink_status(path_, error);
    if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status))
      throw FileError(path_.string(), "is not a regular file; it is not replaced");
    remove_abandoned_parts(path_);
    do {
      part_ = part_name(path_);
      descriptor_ = Descriptor(
          ::open(part_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666));
      if (!descriptor_) throw fail();
    } while (!lock_part(descriptor_, part_));
  }
  ~OutputFile() {
    if (!committed_ && descriptor_) ::unlink(part_.c_str());
  }
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  void write(const void* data, std::size_t size) {
    const auto* next = static_cast<const char*>(data);
    while (size != 0) {
      const ::ssize_t written = ::write(descriptor_.number(), next, size);
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) throw fail();
      next += written;
      size -= static_cast<std::size_t>(written);
    }
  }
  void commit() {
    if (::fsync(descriptor_.number()) != 0 || ::rename(part_.c_str(), path_.c_str()) != 0)
      throw fail();
    committed_ = true;
    if (descriptor_.close() != 0 || !flush_to_disk(directory_of(path_))) throw fail();
  }

 private:
  FileError fail() const {
    return {path_.string(), "cannot be written: " + std::generic_category().message(errno)};
  }

  std::filesystem::path path_, part_;
  Descriptor descriptor_;
  bool committed_ = false;
};

/// A temporary directory that commit renames to `path`; without commit it is deleted, and so are
/// the parent directories that did not exist before.
class OutputDirectory {
 public:
  /// Throws FileError: `path` exists, or the directory cannot be created.
  explicit OutputDirectory(const std::filesystem::path& path) : path_(without_slash(path)) {
    std::error_code error;
    if (std::filesystem::exists(std::filesystem::symlink_status(path_, error)))
      throw fail("exists already");
    try {
      create();
    } catch (...) {
      remove();
      throw;
    }
  }
  ~OutputDirectory() {
    if (!committed_) remove();
  }
  OutputDirectory(const OutputDirectory&) = delete;
  OutputDirectory& operator=(const OutputDirectory&) = delete;

  const std::filesystem::path& part() const noexcept { return part_; }
  /// Flushes the files to the disk and renames the directory. Throws FileError.
  void commit() {
    flush(part_);
    std::error_code error;
    std::filesystem::rename(part_, path_, error);
    if (error) throw fail("cannot be created: " + error.message());
    committed_ = true;
    flush_to_disk(directory_of(path_));
  }

 private:
  /// "new/" as "new".
  static std::filesystem::path without_slash(const std::filesystem::path& path) {
    const std::filesystem::path normal = path.lexically_normal();
    return normal.has_filename() ? normal : normal.parent_path();
  }
  FileError fail(const std::string& problem) const { return {path_.string(), problem}; }

  /// Flushes a file, or a directory and what is in it.
  void flush(const std::filesystem::path& path) const {
    std::error_code error;
    if (std::filesystem::is_directory(path, error))
      for (const std::filesystem::path& entry : list_directory(path, error)) flush(entry);
    if (error) throw fail("cannot be written: " + error.message());
    if (!flush_to_disk(path))
      throw fail("cannot be written: " + std::generic_category().message(errno));
  }

  /// Creates parent directories and the part.
  void create() {
    std::error_code error;
    for (std::filesystem::path parent = directory_of(path_);
         !parent.empty() && !std::filesystem::exists(parent, error); parent = parent.parent_path())
      parents_.push_back(parent);
    std::filesystem::create_directories(directory_of(path_), error);
    remove_abandoned_parts(path_);
    do {
      part_ = part_name(path_);
      if (!error) std::filesystem::create_directory(part_, error);
      if (error) throw fail("cannot be created: " + error.message());
      lock_ = Descriptor(::open(part_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    } while (!lock_part(lock_, part_));
  }

  /// Removes what create() created. Without memory for that, the next writer of `path` removes it.
  void remove() noexcept {
    try {
      if (!part_.empty()) remove_tree(part_);
      for (const std::filesystem::path& parent : parents_) ::rmdir(parent.c_str());
    } catch (const std::exception&) {
    }
  }

  std::filesystem::path path_, part_;
  std::vector<std::filesystem::path> parents_;  // that were created, the innermost first
  Descriptor lock_;
  bool committed_ = false;
};

}  // namespace pllava::detail
