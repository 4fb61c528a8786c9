#include "cli/child.hpp"

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <stdexcept>
#include <system_error>
#include <thread>

#include <fcntl.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

extern char** environ;

namespace test {
namespace {

int check(int result, const char* what) {
  if (result < 0) throw std::system_error(errno, std::generic_category(), what);
  return result;
}

/// Appends the bytes that are available. Returns false at the end.
bool read_some(int fd, std::string& text) {
  char buffer[4096];
  ssize_t n = 0;
  do n = ::read(fd, buffer, sizeof buffer);
  while (n < 0 && errno == EINTR);
  if (n < 0 && errno != EIO) check(-1, "read");  // EIO: the terminal was closed
  if (n <= 0) return false;
  text.append(buffer, static_cast<std::size_t>(n));
  return true;
}

}  // namespace

void Descriptor::close() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

Pipe Pipe::open() {
  int ends[2];
  check(::pipe2(ends, O_CLOEXEC), "pipe2");
  return {Descriptor(ends[0]), Descriptor(ends[1])};
}

Terminal Terminal::open() {
  Descriptor master(check(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), "posix_openpt"));
  check(::grantpt(master.get()), "grantpt");
  check(::unlockpt(master.get()), "unlockpt");
  Descriptor slave(
      check(::open(::ptsname(master.get()), O_RDWR | O_NOCTTY | O_CLOEXEC), "open a terminal"));
  return {std::move(master), std::move(slave)};
}

Child::Child(const std::vector<std::string>& arguments, Streams streams) {
  std::vector<std::string> command = {PLLAVA_PROGRAM};
  command.insert(command.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& argument : command) argv.push_back(argument.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, streams.in, STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, streams.out, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, streams.err, STDERR_FILENO);
  const int error = ::posix_spawn(&pid_, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) throw std::system_error(error, std::generic_category(), argv[0]);
}

Child::~Child() {
  if (pid_ < 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

void Child::interrupt() const {
  check(::kill(pid_, SIGINT), "kill");
}

void Child::limit_memory(std::size_t bytes) const {
  const rlimit limit{bytes, bytes};
  check(::prlimit(pid_, RLIMIT_AS, &limit, nullptr), "prlimit");
}

int Child::wait() {
  int status = 0;
  pid_t ended = 0;
  do ended = ::waitpid(pid_, &status, 0);
  while (ended < 0 && errno == EINTR);
  check(ended, "waitpid");
  pid_ = -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

std::string read_all(int fd) {
  std::string text;
  while (read_some(fd, text)) continue;
  return text;
}

std::string read_until(int fd, const std::string& end) {
  std::string text;
  while (text.find(end) == std::string::npos && read_some(fd, text)) continue;
  return text;
}

Result run(const std::vector<std::string>& arguments, const std::string& input) {
  Pipe in = Pipe::open(), out = Pipe::open(), err = Pipe::open();
  if (::write(in.write.get(), input.data(), input.size()) != static_cast<ssize_t>(input.size()))
    throw std::runtime_error("the input exceeds the capacity of a pipe");
  in.write.close();
  Child child(arguments, {in.read.get(), out.write.get(), err.write.get()});
  out.write.close();
  err.write.close();
  Result result;
  std::thread reader([&] { result.err = read_all(err.read.get()); });
  result.out = read_all(out.read.get());
  reader.join();
  result.code = child.wait();
  return result;
}

}  // namespace test
