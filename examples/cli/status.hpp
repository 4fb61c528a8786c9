// The progress line of the program.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "pllava/config.hpp"

namespace cli {

/// One line on stderr, rewritten in place. Disabled if stderr is not a terminal.
class Status {
 public:
  explicit Status(bool enabled);
  ~Status() { clear(); }
  Status(const Status&) = delete;
  Status& operator=(const Status&) = delete;

  /// Shows "vision 3/16"; stages that count tokens add tokens per second.
  void show(std::string_view stage, pllava::Index done, pllava::Index total);
  /// Erases the line.
  void clear();
  /// Writes a line that is not erased.
  void note(const std::string& text);

 private:
  using Clock = std::chrono::steady_clock;

  bool enabled_;
  bool shown_ = false;
  std::string stage_;
  Clock::time_point first_time_;  // first report of this stage
  pllava::Index first_ = 0, last_ = 0;
};

/// "12.3 tokens/s"
std::string token_rate(double tokens, double seconds);

}  // namespace cli
