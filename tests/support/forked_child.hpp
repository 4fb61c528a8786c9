// Runs code in a child process that fork(2) creates.
#pragma once

#include <exception>

#include <sys/wait.h>
#include <unistd.h>

#include "support/catch.hpp"

namespace test {

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
