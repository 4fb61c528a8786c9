// Measures elapsed time.
#pragma once

#include <chrono>
#include <utility>

namespace pllava {

/// Milliseconds since construction or the last call of `lap`.
class Stopwatch {
 public:
  double lap() {
    const auto now = std::chrono::steady_clock::now();
    return std::chrono::duration<double, std::milli>(now - std::exchange(start_, now)).count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace pllava
