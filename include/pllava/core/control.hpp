// How a caller watches and stops long work.
#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <string_view>

#include "pllava/config.hpp"
#include "pllava/error.hpp"

namespace pllava {

/// Handed to long calls. `cancel` may be set from any thread; the call then throws CancelledError
/// at the next layer. `progress` is called on the calling thread.
struct RunControl {
  const std::atomic<bool>* cancel = nullptr;
  std::function<void(std::string_view stage, Index done, Index total)> progress;

  /// Reports progress, then throws CancelledError if cancelled.
  void at(std::string_view stage, Index done, Index total) const {
    if (progress) progress(stage, done, total);
    check(stage);
  }
  /// Throws CancelledError if cancelled.
  void check(std::string_view stage) const {
    if (cancel != nullptr && cancel->load(std::memory_order_relaxed))
      throw CancelledError(std::string(stage));
  }
};

}  // namespace pllava
