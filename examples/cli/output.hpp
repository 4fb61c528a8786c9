// What the program writes: results to stdout, errors to stderr, an exit code.
#pragma once

#include <stdexcept>
#include <string_view>

namespace cli {

inline constexpr int kSuccess = 0, kFailure = 1, kWrongUsage = 2, kInterrupted = 130;

/// Standard output is closed or full: there is no use in going on.
class OutputError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Writes text to stdout now. Throws OutputError.
void write_output(std::string_view text);

/// One line on stderr, whatever the message contains.
void report_error(std::string_view message);

}  // namespace cli
