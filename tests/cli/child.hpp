// Runs the program as another process and takes what it writes.
#pragma once

#include <string>
#include <vector>

#include <sys/types.h>

namespace test {

/// An open file descriptor, closed with its owner.
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

/// Two ends that children do not inherit by themselves.
struct Pipe {
  Descriptor read, write;
  static Pipe open();
};

/// A terminal: `master` is the side of who looks at it, `slave` that of the program.
struct Terminal {
  Descriptor master, slave;
  static Terminal open();
};

/// The program, running. Killed if nobody waited for it.
class Child {
 public:
  /// Descriptors for the child's standard streams, which it gets copies of.
  struct Streams {
    int in, out, err;
  };
  Child(const std::vector<std::string>& arguments, Streams streams);
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  void interrupt() const;
  void limit_memory(std::size_t bytes) const;
  /// The exit code; minus the signal that ended it.
  int wait();

 private:
  pid_t pid_ = -1;
};

/// Reads until the end; a terminal's other side closing is an end.
std::string read_all(int fd);
/// Reads until `text` was read, or the end.
std::string read_until(int fd, const std::string& text);

struct Result {
  int code;
  std::string out, err;
};

/// Runs the program to its end with `input` on stdin, at most 64 KiB.
Result run(const std::vector<std::string>& arguments, const std::string& input = {});

}  // namespace test
