// Runs code in a child process that fork(2) creates.
#pragma once

#include <exception>

#include <sys/wait.h>
#include <unistd.h>

#include "support/catch.hpp"

namespace test {

/// False in a build with AddressSanitizer and on an emulated machine, and prints why the test is
/// skipped. A lock of AddressSanitizer's runtime that another thread holds during fork(2) is never
/// released in the child.
inline bool can_fork_beside_threads() {
#if defined(__SANITIZE_ADDRESS__)
  WARN("skipped: AddressSanitizer can hang in the child of a process with several threads");
  return false;
#elif defined(PLLAVA_TEST_EMULATED)
  WARN("skipped: the emulator (qemu-user) cannot fork a process with several threads");
  return false;
#else
  return true;
#endif
}

/// The exit code of a child process that calls `body` and exits with its result; 255 if it throws.
/// A child that hangs is ended by SIGALRM and fails the test.
template <class Body>
int in_child(const Body& body) {
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    ::alarm(60);
    int code = 255;
    try {
      code = body();
    } catch (const std::exception&) {
    }
    ::_exit(code);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  INFO("status " << status);
  REQUIRE(WIFEXITED(status));
  return WEXITSTATUS(status);
}

}  // namespace test
