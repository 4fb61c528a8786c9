// Bytes that arrive over time: a file that is being written, a FIFO or standard input.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "pllava/io/detail/descriptor.hpp"

namespace pllava::detail {

class ByteStream {
 public:
  /// Opens the file or FIFO, or standard input ("-"), without waiting for a writer. Throws
  /// MediaError naming `name`.
  ByteStream(const std::string& path, const std::string& name);

  /// Reads at most `size` bytes as soon as there are any. 0: the writer closed the pipe, or
  /// `interrupted()` while waiting. A negative number: -errno.
  int read(std::uint8_t* to, int size, const std::function<bool()>& interrupted);

 private:
  Descriptor owned_;
  int file_;
  bool is_pipe_;
  bool has_begun_ = false;  // a FIFO that no writer has opened yet looks like one that was closed
};

/// Whether the path is a FIFO.
bool is_fifo(const std::string& path);

}  // namespace pllava::detail
