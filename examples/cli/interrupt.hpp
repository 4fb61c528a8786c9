// Ctrl-C: the first cancels the work at its next step, the second ends the program immediately.
#pragma once

#include "pllava/core/control.hpp"

namespace cli {

/// Handles SIGINT during its lifetime. At most one per program.
class Interrupt {
 public:
  Interrupt();
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  /// Cancelled by the first Ctrl-C.
  pllava::CancelToken token() const noexcept;
  bool requested() const noexcept { return token().cancelled(); }

  /// During its lifetime SIGINT ends the program immediately: for calls that cannot be cancelled
  /// and do not leave partial results.
  class EndsProgram {
   public:
    EndsProgram();
    ~EndsProgram();
    EndsProgram(const EndsProgram&) = delete;
    EndsProgram& operator=(const EndsProgram&) = delete;
  };
};

}  // namespace cli
