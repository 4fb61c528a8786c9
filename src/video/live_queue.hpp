// Frames of a live source that wait for their consumer.
#pragma once

#include <cstddef>
#include <deque>
#include <optional>
#include <utility>

#include "pllava/config.hpp"

namespace pllava::detail {

/// A bounded queue of frames in the order of their times. A frame is late when the next one is due
/// too: a consumer that asks now would be shown the later one.
template <class Frame>
class LiveQueue {
 public:
  explicit LiveQueue(std::size_t capacity) : capacity_(capacity) {}

  bool empty() const noexcept { return frames_.empty(); }
  bool full() const noexcept { return frames_.size() >= capacity_; }
  /// Precondition: not full.
  void push(Frame frame, double time) { frames_.emplace_back(time, std::move(frame)); }
  /// Removes the frames that are late at time `now` of the source.
  void drop_late(double now) {
    while (frames_.size() > 1 && frames_[1].first <= now) {
      frames_.pop_front();
      ++dropped_;
    }
  }
  /// The oldest frame; nullopt if there is none.
  std::optional<Frame> pop() {
    if (frames_.empty()) return std::nullopt;
    std::optional<Frame> frame = std::move(frames_.front().second);
    frames_.pop_front();
    return frame;
  }
  /// Frames that were late.
  Index dropped() const noexcept { return dropped_; }

 private:
  std::size_t capacity_;
  std::deque<std::pair<double, Frame>> frames_;
  Index dropped_ = 0;
};

}  // namespace pllava::detail
