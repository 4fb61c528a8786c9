// Output of the program: results to stdout, errors to stderr, exit codes.
#pragma once

#include <stdexcept>
#include <string_view>

namespace cli {

inline constexpr int kSuccess = 0, kFailure = 1, kWrongUsage = 2, kInterrupted = 130;

/// Standard output is closed or full. The program ends.
class OutputError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Writes text to stdout and flushes. Throws OutputError.
void write_output(std::string_view text);

/// Writes one line to stderr; control characters of the message become spaces.
void report_error(std::string_view message);
/// The same with "warning" as its label.
void report_warning(std::string_view message);

}  // namespace cli
