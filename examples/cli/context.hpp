// The arguments of every command.
#pragma once

#include "interrupt.hpp"
#include "options.hpp"
#include "pllava/core/control.hpp"
#include "status.hpp"

namespace cli {

struct Context {
  const Options& options;
  const Interrupt& interrupt;
  Status& status;

  /// Reports progress to the status line and cancels after the first Ctrl-C.
  pllava::RunControl control() const {
    return {interrupt.token(), [line = &status](std::string_view stage, Index done, Index total) {
              line->show(stage, done, total);
            }};
  }
};

}  // namespace cli
