// Milliseconds from one lap to the next.
#pragma once

#include <chrono>
#include <utility>

namespace cli {

class Stopwatch {
 public:
  /// Since construction or the last lap.
  double lap() {
    const auto now = std::chrono::steady_clock::now();
    return std::chrono::duration<double, std::milli>(now - std::exchange(start_, now)).count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace cli
