// Progress and cancellation of long calls.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "pllava/config.hpp"
#include "pllava/error.hpp"

namespace pllava {

/// Tells a call to stop. Copies share one flag; a default token is never cancelled.
/// Threads: the flag may be set from any thread, and from a signal handler.
class CancelToken {
 public:
  CancelToken() = default;
  /// Observes the caller's flag, which must outlive every copy of the token; null: never cancelled.
  CancelToken(const std::atomic<bool>* flag) noexcept  // NOLINT: a flag is used as its token
      : flag_(std::shared_ptr<const std::atomic<bool>>(), flag) {}

  bool cancelled() const noexcept {
    return flag_ != nullptr && flag_->load(std::memory_order_relaxed);
  }

 private:
  friend class CancelSource;
  explicit CancelToken(std::shared_ptr<const std::atomic<bool>> flag) : flag_(std::move(flag)) {}

  std::shared_ptr<const std::atomic<bool>> flag_;
};

/// Owns the flag of its tokens. The tokens stay valid after it is destroyed.
class CancelSource {
 public:
  void cancel() noexcept { flag_->store(true, std::memory_order_relaxed); }
  CancelToken token() const { return CancelToken(flag_); }

 private:
  std::shared_ptr<std::atomic<bool>> flag_ = std::make_shared<std::atomic<bool>>(false);
};

/// Parameter of long calls. After `cancel` is set, the call throws CancelledError at the next
/// layer. `progress` is called on the calling thread.
struct RunControl {
  CancelToken cancel = {};
  std::function<void(std::string_view stage, Index done, Index total)> progress = {};

  /// Reports progress, then throws CancelledError if cancelled.
  void at(std::string_view stage, Index done, Index total) const {
    if (progress) progress(stage, done, total);
    check(stage);
  }
  /// Throws CancelledError if cancelled.
  void check(std::string_view stage) const {
    if (cancel.cancelled()) throw CancelledError(std::string(stage));
  }
};

}  // namespace pllava
