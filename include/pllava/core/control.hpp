// Progress and cancellation of long calls.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "pllava/config.hpp"
#include "pllava/error.hpp"

namespace pllava {

/// Tells a call to stop: when its flag is set, or at its deadline. Copies share one flag; a default
/// token is never cancelled.
/// Threads: the flag may be set from any thread, and from a signal handler.
class CancelToken {
 public:
  using Clock = std::chrono::steady_clock;

  CancelToken() = default;
  /// Observes the caller's flag, which must outlive every copy of the token; null: never cancelled.
  CancelToken(const std::atomic<bool>* flag) noexcept  // NOLINT: a flag is used as its token
      : flag_(std::shared_ptr<const std::atomic<bool>>(), flag) {}

  bool cancelled() const noexcept { return is_set() || expired(); }
  /// Whether the deadline has passed.
  bool expired() const noexcept {
    return deadline_ != Clock::time_point::max() && Clock::now() >= deadline_;
  }

  /// A token of the same flag that is also cancelled from `deadline` on. The earlier of two
  /// deadlines counts.
  CancelToken until(Clock::time_point deadline) const {
    CancelToken token = *this;
    if (deadline < token.deadline_) token.deadline_ = deadline;
    return token;
  }

  /// Throws CancelledError if the flag is set, DeadlineError if the deadline has passed. `stage`
  /// says in the message what was stopped.
  void check(std::string_view stage) const {
    if (is_set()) throw CancelledError(std::string(stage));
    if (expired()) throw DeadlineError(std::string(stage));
  }

 private:
  friend class CancelSource;
  explicit CancelToken(std::shared_ptr<const std::atomic<bool>> flag) : flag_(std::move(flag)) {}

  bool is_set() const noexcept {
    return flag_ != nullptr && flag_->load(std::memory_order_relaxed);
  }

  std::shared_ptr<const std::atomic<bool>> flag_;
  Clock::time_point deadline_ = Clock::time_point::max();
};

/// Owns the flag of its tokens. The tokens stay valid after it is destroyed.
class CancelSource {
 public:
  void cancel() noexcept { flag_->store(true, std::memory_order_relaxed); }
  CancelToken token() const { return CancelToken(flag_); }

 private:
  std::shared_ptr<std::atomic<bool>> flag_ = std::make_shared<std::atomic<bool>>(false);
};

/// Parameter of long calls. After `cancel` is cancelled, the call throws CancelledError or
/// DeadlineError at the next layer or token. `progress` is called on the calling thread.
struct RunControl {
  CancelToken cancel = {};
  std::function<void(std::string_view stage, Index done, Index total)> progress = {};

  /// Reports progress, then throws as `check`.
  void at(std::string_view stage, Index done, Index total) const {
    if (progress) progress(stage, done, total);
    check(stage);
  }
  /// Throws as CancelToken::check.
  void check(std::string_view stage) const { cancel.check(stage); }
};

}  // namespace pllava
