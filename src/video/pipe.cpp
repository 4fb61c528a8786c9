#include "pipe.hpp"

#include <array>
#include <cerrno>
#include <new>
#include <system_error>

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include "pllava/error.hpp"
#include "pllava/io/detail/descriptor.hpp"

namespace pllava::detail {

std::vector<std::byte> read_pipe(const std::string& path, const std::string& name,
                                 const CancelToken& cancel) {
  constexpr std::size_t kMaxBytes = std::size_t{2} << 30;
  constexpr int kPollMs = 50;
  const auto fail = [&](const std::string& problem) { throw MediaError(name, problem); };
  const auto error_text = [] { return std::generic_category().message(errno); };
  // Without O_NONBLOCK, opening a FIFO would wait for a writer and could not be cancelled.
  const bool is_standard_input = path == "-";
  const Descriptor fifo(
      is_standard_input ? -1 : ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  if (!is_standard_input && !fifo) fail(error_text());
  const int file = is_standard_input ? STDIN_FILENO : fifo.number();

  std::vector<std::byte> bytes;
  std::array<std::byte, 65536> block;  // the capacity of a pipe
  for (;;) {
    cancel.check("reading of " + name);
    pollfd wait{file, POLLIN, 0};
    const int ready = ::poll(&wait, 1, kPollMs);
    if (ready < 0 && errno != EINTR) fail(error_text());
    if (ready <= 0) continue;
    const ssize_t count = ::read(file, block.data(), block.size());
    if (count < 0 && errno != EAGAIN && errno != EINTR) fail(error_text());
    if (count == 0) return bytes;
    if (count < 0) continue;
    if (bytes.size() + static_cast<std::size_t>(count) > kMaxBytes)
      fail("more than 2 GiB; write it to a file first");
    try {
      bytes.insert(bytes.end(), block.begin(), block.begin() + count);
    } catch (const std::bad_alloc&) {
      throw OutOfMemoryError(name, bytes.size() * 2);
    }
  }
}

}  // namespace pllava::detail
