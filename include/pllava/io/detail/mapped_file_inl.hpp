// Bodies of io/mapped_file.hpp, with POSIX mmap.
#pragma once

#include <algorithm>
#include <cerrno>
#include <system_error>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pllava/error.hpp"
#include "pllava/io/mapped_file.hpp"

namespace pllava {

PLLAVA_INLINE std::shared_ptr<const MappedFile> MappedFile::open(
    const std::filesystem::path& path) {
  const auto fail = [&](const char* problem, int code) -> LoadError {
    return {std::string(problem) + ": " + std::generic_category().message(code),
            {.file = path.string(), .tensor = {}, .expected = {}, .got = {}}};
  };
  struct Descriptor {
    int fd;
    ~Descriptor() {
      if (fd >= 0) ::close(fd);
    }
  };
  // O_NONBLOCK: opening a named pipe by mistake must not wait for a writer.
  const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (file.fd < 0) throw fail("cannot be opened", errno);
  struct stat status {};
  if (::fstat(file.fd, &status) != 0) throw fail("cannot be read", errno);
  if (!S_ISREG(status.st_mode)) {
    throw LoadError("cannot be mapped",
                    {.file = path.string(),
                     .tensor = {},
                     .expected = "a regular file",
                     .got = S_ISDIR(status.st_mode) ? "a directory" : "a special file"});
  }
  const auto size = static_cast<std::size_t>(status.st_size);
  // Without a mapping until everything is allocated: its owner unmaps it.
  const std::shared_ptr<MappedFile> mapped(new MappedFile(path.string()));
  if (size != 0) {  // mmap rejects an empty range
    void* const data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.fd, 0);
    if (data == MAP_FAILED) throw fail("cannot be mapped", errno);
    mapped->data_ = static_cast<const std::byte*>(data);
    mapped->size_ = size;
  }
  return mapped;
}

PLLAVA_INLINE MappedFile::~MappedFile() {
  if (size_ != 0) ::munmap(const_cast<std::byte*>(data_), size_);
}

PLLAVA_INLINE void MappedFile::release(std::size_t offset, std::size_t size) const noexcept {
  if (offset >= size_) return;
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const std::size_t begin = offset / page * page;
  const std::size_t end = offset + std::min(size, size_ - offset);
  if (end > begin) ::madvise(const_cast<std::byte*>(data_) + begin, end - begin, MADV_DONTNEED);
}

}  // namespace pllava
