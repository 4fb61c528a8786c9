// A live source that programs push their own images into: from callbacks of a camera's driver, ROS
// topics, pipelines of GStreamer.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <exception>
#include <mutex>
#include <optional>

#include "pllava/media/frame_source.hpp"
#include "pllava/media/raw_image.hpp"

namespace pllava {

enum class Delivery {
  newest,  ///< `next` returns the newest frame; older ones are dropped
  every,   ///< `next` returns every frame; producers wait while the queue is full
};

struct FrameQueueOptions {
  Index capacity = 8;  ///< frames that wait, with Delivery::every
  Delivery delivery = Delivery::newest;
  double fps = 0;  ///< frames per second to keep; others are dropped before they are copied; 0: all
};

/// Images that are dropped are neither copied nor converted; others are converted in `next`.
/// Threads: any number of producers (push, try_push, close, fail) and one consumer (next).
class FrameQueue {
 public:
  /// Throws ArgumentError for a capacity below 1 or an invalid rate.
  explicit FrameQueue(const FrameQueueOptions& options = {});
  FrameQueue(const FrameQueue&) = delete;
  FrameQueue& operator=(const FrameQueue&) = delete;

  /// Adds an image; without an owner its pixels are copied. With Delivery::every it waits while the
  /// queue is full. After `close` or `fail` the image is dropped. Throws MediaError (see
  /// require_valid), OutOfMemoryError, CancelledError and DeadlineError.
  void push(const RawImage& image, const CancelToken& cancel = {});
  /// The same without waiting: false if the queue is full, and the image is dropped.
  bool try_push(const RawImage& image);
  /// Ends the stream: `next` returns the frames that wait, then nullopt.
  void close();
  /// Ends the stream with an error, which `next` throws after the frames that wait.
  void fail(std::exception_ptr error);

  /// Waits for a frame. Frame::time rises from 0: if the sender's clock goes back, or ahead by more
  /// than 10 s, the time continues 40 ms after the last frame; without a clock it is the time of
  /// arrival. Frame::index counts the images that were pushed.
  std::optional<Frame> next(const CancelToken& cancel = {});
  SourceStats stats() const;

 private:
  using Clock = std::chrono::steady_clock;
  struct Waiting {
    RawImage image;
    double time;
    Index index;
    Clock::time_point arrival;
  };

  bool add(const RawImage& image, const CancelToken* wait);
  double time_of(const RawImage& image, Clock::time_point arrival);

  const FrameQueueOptions options_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Waiting> waiting_;
  SourceStats stats_;
  bool ended_ = false;
  std::exception_ptr error_;
  Index pushed_ = 0;
  std::optional<Clock::time_point> first_arrival_;
  std::optional<double> clock_offset_;  // time of the source minus that of the sender
  double last_time_ = 0;                // of the image pushed last
  double next_due_ = 0;                 // with a rate
};

static_assert(FrameSource<FrameQueue>);

}  // namespace pllava

#ifndef PLLAVA_COMPILED
#include "pllava/media/detail/frame_queue_inl.hpp"
#endif
