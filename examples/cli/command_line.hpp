// Parses argv into Options.
#pragma once

#include <optional>

#include "options.hpp"

namespace cli {

/// Fills `options`. Returns an exit code if the program should end now: help, the version or one
/// line about wrong usage was printed.
std::optional<int> parse_command_line(int argc, char** argv, Options& options);

}  // namespace cli
