// Ctrl-C: the first stops the work at its next step, the second ends the program at once.
#pragma once

#include "pllava/core/control.hpp"

namespace cli {

/// Handles SIGINT while it lives. One a program.
class Interrupt {
 public:
  Interrupt();
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  /// Cancels the library's long calls after the first Ctrl-C.
  pllava::CancelToken token() const noexcept;
  bool requested() const noexcept { return token().cancelled(); }

  /// While it lives, SIGINT ends the program at once: for calls that cannot be cancelled and leave
  /// nothing half done.
  class EndsProgram {
   public:
    EndsProgram();
    ~EndsProgram();
    EndsProgram(const EndsProgram&) = delete;
    EndsProgram& operator=(const EndsProgram&) = delete;
  };
};

}  // namespace cli
