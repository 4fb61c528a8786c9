// The last frames of a live source.
#pragma once

#include <cstddef>
#include <deque>
#include <string>
#include <utility>

#include "pllava/media/image.hpp"

namespace pllava {

/// Keeps the last `capacity` frames. Threads: belongs to one thread at a time.
class FrameRing {
 public:
  /// Throws ArgumentError for a capacity below 1.
  explicit FrameRing(Index capacity) : capacity_(capacity) {
    if (capacity < 1)
      throw ArgumentError("a FrameRing of " + std::to_string(capacity) +
                          " frames; expected 1 or more");
  }

  /// Appends a frame; the oldest one leaves a full ring. Borrowed pixels are copied, so the caller
  /// may reuse the buffer. Throws MediaError for a frame without host pixels, OutOfMemoryError.
  void push(const Frame& frame) {
    Frame kept = frame.owner != nullptr ? frame : to_rgb(frame);
    if (static_cast<Index>(frames_.size()) == capacity_) frames_.pop_front();
    frames_.push_back(std::move(kept));
  }

  Index size() const noexcept { return static_cast<Index>(frames_.size()); }
  Index capacity() const noexcept { return capacity_; }
  void clear() noexcept { frames_.clear(); }

  /// The frames, oldest first, which share their pixels with the ring.
  Clip clip() const {
    Clip clip;
    clip.frames.assign(frames_.begin(), frames_.end());
    return clip;
  }

 private:
  Index capacity_;
  std::deque<Frame> frames_;
};

}  // namespace pllava
