// Waits between the attempts to connect.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <random>
#include <thread>

#include "pllava/media/video.hpp"

namespace pllava::detail {

/// Doubles the delay with each attempt, up to Reconnect::max_delay, and takes a random part of it
/// between a half and the whole, so that clients of a restarted server do not return all at once.
class Backoff {
 public:
  explicit Backoff(const Reconnect& options) : options_(options) {}

  /// After a success: the next attempt is the first again.
  void reset() noexcept { attempts_ = 0; }

  /// Waits for the next attempt. False without waiting if no attempt is left, and as soon as
  /// `stopped()` is true.
  template <class Stopped>
  bool wait(const Stopped& stopped) {
    if (!options_.enabled) return false;
    if (options_.attempts >= 0 && attempts_ >= options_.attempts) return false;
    const double delay =
        std::min(options_.max_delay, std::ldexp(options_.first_delay, std::min(attempts_, 30)));
    ++attempts_;
    using Clock = std::chrono::steady_clock;
    const auto end = Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                        std::chrono::duration<double>(delay * part_(random_)));
    while (!stopped()) {
      if (Clock::now() >= end) return true;
      std::this_thread::sleep_for(
          std::min<Clock::duration>(end - Clock::now(), std::chrono::milliseconds(10)));
    }
    return false;
  }

 private:
  Reconnect options_;
  int attempts_ = 0;  // since the last success
  std::minstd_rand random_{std::random_device{}()};
  std::uniform_real_distribution<double> part_{0.5, 1.0};
};

}  // namespace pllava::detail
