// Detects objects of the parent process in a child that fork(2) created.
#pragma once

#include <atomic>
#include <string>
#include <system_error>

#include <pthread.h>

#include "pllava/error.hpp"

namespace pllava::detail {

/// The forks between the process that created the first ForkOrigin and this one.
inline std::atomic<unsigned> fork_count{0};

/// Remembers the process that created an object. Its threads exist only there.
class ForkOrigin {
 public:
  /// Throws Error if the system has no memory to observe forks.
  ForkOrigin() {
    static const int error = ::pthread_atfork(nullptr, nullptr, [] { ++fork_count; });
    if (error != 0) throw Error("cannot observe fork: " + std::generic_category().message(error));
    count_ = fork_count;
  }
  bool is_this_process() const noexcept { return count_ == fork_count; }

 private:
  unsigned count_ = 0;
};

}  // namespace pllava::detail
