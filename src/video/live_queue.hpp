// Frames of a live source that wait for their consumer.
#pragma once

#include <algorithm>
#include <cstddef>
#include <deque>
#include <limits>
#include <optional>
#include <utility>

#include "pllava/config.hpp"

namespace pllava::detail {

/// A bounded queue of frames in their order of arrival. Maps the times of the source to the clock
/// of this machine, and so knows which frames are late: a newer one is due too. All times are in
/// seconds; `now` is the time since the source was opened. The caller holds the lock.
template <class Frame>
class LiveQueue {
 public:
  enum class Sender {
    in_real_time,    ///< sends each frame when it is captured, as a camera does
    as_fast_as_read  ///< may send frames early, as a file over HTTP; it waits for the consumer
  };

  LiveQueue(std::size_t capacity, Sender sender)
      : capacity_(capacity),
        sender_(sender),
        start_(sender == Sender::in_real_time ? 0.0 : kEarly) {}

  /// Off: late frames stay in the queue.
  void set_drops_late(bool on) noexcept { drops_late_ = on; }

  bool empty() const noexcept { return frames_.empty(); }
  bool full() const noexcept { return frames_.size() >= capacity_; }
  /// Frames that were dropped.
  Index dropped() const noexcept { return dropped_; }
  /// The time of a frame that is due now.
  double source_time(double now) const noexcept { return now - start_; }

  /// A frame that is taken from `sender` in real time is due by now at the latest.
  void arrive(double time, double now) {
    if (sender_ == Sender::in_real_time) start_ = std::min(start_, now - time);
  }

  /// Precondition: not full.
  void push(Frame frame, double time, double now) {
    const double delay = now - start_ - time;
    if (delay <= kLate) least_delay_ = std::numeric_limits<double>::infinity();
    if (delay > kLate && delay < least_delay_) {
      least_delay_ = delay;
      progress_ = now;
    }
    frames_.push_back({std::move(frame), time, delay});
  }

  /// Removes the frames before the newest one that is due. A frame with a wrong time far ahead is
  /// never due, so frames after it count too.
  void drop_late(double now) {
    if (!drops_late_) return;
    const auto is_due = [&](const Entry& e) { return e.time <= source_time(now); };
    const auto newest = std::find_if(frames_.rbegin(), frames_.rend(), is_due);
    if (newest == frames_.rend()) return;
    const auto late = (frames_.rend() - newest) - 1;
    frames_.erase(frames_.begin(), frames_.begin() + late);
    dropped_ += late;
  }

  /// Whether frames arrive late and less late than those before them: the reader is working off
  /// frames that waited on the way, and soon has newer ones. False a moment after the last
  /// progress, because then the sender itself is late.
  bool is_catching_up(double now) const {
    return drops_late_ && !frames_.empty() && frames_.back().delay > kLate &&
           now - progress_ < kPatience;
  }

  /// The oldest frame; nullopt if there is none.
  std::optional<Frame> pop(double now) {
    if (frames_.empty()) return std::nullopt;
    Entry entry = std::move(frames_.front());
    frames_.pop_front();
    if (drops_late_ && entry.delay > kLate) start_ += entry.delay;  // the sender itself is late
    if (sender_ == Sender::as_fast_as_read) start_ = std::min(start_, now - entry.time + kEarly);
    return std::move(entry.frame);
  }

 private:
  struct Entry {
    Frame frame;
    double time;   // of the source
    double delay;  // from the time when it was due to its arrival
  };

  /// A consumer that reads from a fast sender is this much ahead, so that its jitter drops nothing.
  static constexpr double kEarly = 0.5;
  /// A longer delay is more than the jitter of a network.
  static constexpr double kLate = 0.3;
  static constexpr double kPatience = 0.2;

  std::size_t capacity_;
  Sender sender_;
  bool drops_late_ = false;
  std::deque<Entry> frames_;
  double start_;                                                  // when a frame with time 0 is due
  double least_delay_ = std::numeric_limits<double>::infinity();  // since the last punctual frame
  double progress_ = -std::numeric_limits<double>::infinity();    // when least_delay_ fell last
  Index dropped_ = 0;
};

}  // namespace pllava::detail
