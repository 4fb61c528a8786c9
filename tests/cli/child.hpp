// Runs the program as a child process and reads its output.
#pragma once

#include <string>
#include <vector>

#include <sys/types.h>

namespace test {

/// Owns an open file descriptor.
class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  ~Descriptor() { close(); }
  Descriptor(Descriptor&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
  Descriptor& operator=(Descriptor&&) = delete;

  int get() const { return fd_; }
  void close();

 private:
  int fd_;
};

/// Both ends are closed on exec.
struct Pipe {
  Descriptor read, write;
  static Pipe open();
};

/// A pseudoterminal: the test reads `master`, the program writes to `slave`.
struct Terminal {
  Descriptor master, slave;
  static Terminal open();
};

/// A running program. The destructor kills it unless wait() returned.
class Child {
 public:
  /// Descriptors that are duplicated as the child's standard streams.
  struct Streams {
    int in, out, err;
  };
  Child(const std::vector<std::string>& arguments, Streams streams);
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  void interrupt() const;
  void limit_memory(std::size_t bytes) const;
  /// Waits for the end. Returns the exit code, or minus the number of the signal that ended it.
  int wait();

 private:
  pid_t pid_ = -1;
};

/// Reads until the end of the file, or until the terminal is closed.
std::string read_all(int fd);
/// Reads until the text contains `end`, or until the end of the file.
std::string read_until(int fd, const std::string& end);

struct Result {
  int code;
  std::string out, err;
};

/// Runs the program to completion with `input` on stdin, at most 64 KiB.
Result run(const std::vector<std::string>& arguments, const std::string& input = {});

}  // namespace test
