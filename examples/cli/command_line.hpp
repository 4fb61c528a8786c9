// From argv to Options.
#pragma once

#include <optional>

#include "options.hpp"

namespace cli {

/// Fills `options`. An exit code means that there is nothing left to do: help or the version was
/// printed, or one line about wrong usage.
std::optional<int> parse_command_line(int argc, char** argv, Options& options);

}  // namespace cli
