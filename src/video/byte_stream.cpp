#include "byte_stream.hpp"

#include <cerrno>
#include <system_error>

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pllava/error.hpp"

namespace pllava::detail {

bool is_fifo(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 && S_ISFIFO(status.st_mode);
}

// Without O_NONBLOCK, opening a FIFO would wait for a writer and could not be cancelled.
ByteStream::ByteStream(const std::string& path, const std::string& name)
    : owned_(path == "-" ? -1 : ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC)),
      file_(path == "-" ? STDIN_FILENO : owned_.number()),
      is_pipe_(path == "-" || is_fifo(path)) {
  if (file_ < 0) throw MediaError(name, std::generic_category().message(errno));
}

int ByteStream::read(std::uint8_t* to, int size, const std::function<bool()>& interrupted) {
  constexpr int kPollMs = 10;
  while (!interrupted()) {
    if (is_pipe_) {
      pollfd wait{file_, POLLIN, 0};
      const int ready = ::poll(&wait, 1, kPollMs);
      if (ready < 0 && errno != EINTR) return -errno;
      if (ready <= 0) continue;
    }
    const auto count = static_cast<int>(::read(file_, to, static_cast<std::size_t>(size)));
    if (count > 0) {
      has_begun_ = true;
      return count;
    }
    if (count < 0 && errno != EAGAIN && errno != EINTR) return -errno;
    if (count == 0 && is_pipe_ && (has_begun_ || file_ == STDIN_FILENO)) return 0;
    if (count == 0) ::poll(nullptr, 0, kPollMs);  // the end of the file so far
  }
  return 0;
}

}  // namespace pllava::detail
