// Ctrl-C: the first stops the work at its next step, the second ends the program at once.
#pragma once

#include <atomic>
#include <stop_token>
#include <thread>

namespace cli {

/// Handles SIGINT while it lives. One a program.
class Interrupt {
 public:
  Interrupt();
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  /// For the library's long calls.
  const std::atomic<bool>& requested() const noexcept;
  /// For the decoding of videos.
  std::stop_token token() const noexcept { return stop_.get_token(); }

  /// While it lives, SIGINT ends the program at once: for calls that cannot be cancelled and leave
  /// nothing half done.
  class EndsProgram {
   public:
    EndsProgram();
    ~EndsProgram();
    EndsProgram(const EndsProgram&) = delete;
    EndsProgram& operator=(const EndsProgram&) = delete;
  };

 private:
  std::stop_source stop_;
  std::thread watcher_;  // passes the signal on to stop_, which a signal handler must not touch
};

}  // namespace cli
