// Definitions of frame_queue.hpp.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "pllava/media/frame_queue.hpp"

namespace pllava {

PLLAVA_INLINE FrameQueue::FrameQueue(const FrameQueueOptions& options) : options_(options) {
  if (options.capacity < 1)
    throw ArgumentError("a FrameQueue of " + std::to_string(options.capacity) +
                        " frames; expected 1 or more");
  if (!(options.fps >= 0) || std::isinf(options.fps))
    throw ArgumentError("FrameQueueOptions::fps must be a finite number, 0 for all frames");
}

PLLAVA_INLINE void FrameQueue::push(const RawImage& image, const CancelToken& cancel) {
  add(image, &cancel);
}
PLLAVA_INLINE bool FrameQueue::try_push(const RawImage& image) {
  return add(image, nullptr);
}

/// Waits for room if `wait` is given. False if there is none.
PLLAVA_INLINE bool FrameQueue::add(const RawImage& image, const CancelToken* wait) {
  require_valid(image);
  const Clock::time_point arrival = Clock::now();
  std::unique_lock lock(mutex_);
  if (ended_) return true;
  const bool newest = options_.delivery == Delivery::newest;
  while (!newest && static_cast<Index>(waiting_.size()) >= options_.capacity) {
    if (wait == nullptr) {
      ++stats_.received, ++stats_.dropped, ++pushed_;
      return false;
    }
    wait->check("waiting for room in a FrameQueue");
    changed_.wait_for(lock, std::chrono::milliseconds(10));
    if (ended_) return true;
  }
  const double time = time_of(image, arrival);
  const Index index = pushed_++;
  ++stats_.received;
  if (options_.fps > 0) {
    if (time < next_due_) {
      ++stats_.dropped;
      return true;
    }
    next_due_ = (std::floor(time * options_.fps + 1e-6) + 1) / options_.fps;
  }
  waiting_.push_back({owned(image), time, index, arrival});
  if (newest && waiting_.size() > 1) {
    waiting_.pop_front();
    ++stats_.dropped;
  }
  changed_.notify_all();
  return true;
}

/// Precondition: mutex_ is locked.
PLLAVA_INLINE double FrameQueue::time_of(const RawImage& image, Clock::time_point arrival) {
  constexpr double kAhead = 10, kInterval = 0.04;
  if (!first_arrival_) first_arrival_ = arrival;
  double time = std::chrono::duration<double>(arrival - *first_arrival_).count();
  if (std::isfinite(image.time)) {
    if (!clock_offset_) clock_offset_ = (pushed_ == 0 ? 0 : last_time_ + kInterval) - image.time;
    time = image.time + *clock_offset_;
    if (pushed_ > 0 && (time < last_time_ || time > last_time_ + kAhead)) {
      time = last_time_ + kInterval;
      clock_offset_ = time - image.time;
    }
  }
  return last_time_ = std::max(time, last_time_);
}

PLLAVA_INLINE void FrameQueue::close() {
  const std::lock_guard lock(mutex_);
  ended_ = true;
  changed_.notify_all();
}

PLLAVA_INLINE void FrameQueue::fail(std::exception_ptr error) {
  const std::lock_guard lock(mutex_);
  if (!ended_) error_ = std::move(error);
  ended_ = true;
  changed_.notify_all();
}

PLLAVA_INLINE std::optional<Frame> FrameQueue::next(const CancelToken& cancel) {
  std::optional<Waiting> taken;
  {
    std::unique_lock lock(mutex_);
    while (waiting_.empty()) {
      if (error_) std::rethrow_exception(error_);
      if (ended_) return std::nullopt;
      cancel.check("waiting for a frame");
      changed_.wait_for(lock, std::chrono::milliseconds(10));
    }
    taken = std::move(waiting_.front());
    waiting_.pop_front();
    ++stats_.delivered;
    stats_.age = std::chrono::duration<double>(Clock::now() - taken->arrival).count();
    changed_.notify_all();
  }
  Frame frame = to_frame(taken->image);
  frame.time = taken->time;
  frame.index = taken->index;
  return frame;
}

PLLAVA_INLINE SourceStats FrameQueue::stats() const {
  const std::lock_guard lock(mutex_);
  SourceStats stats = stats_;
  stats.connected = !ended_;
  return stats;
}

}  // namespace pllava
