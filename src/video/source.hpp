// The interface between Video and the kinds of sources.
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "pllava/core/fork_count.hpp"
#include "pllava/media/video.hpp"

namespace pllava {

namespace detail {

inline constexpr const char* kExpectedSource =
    "expected a video, an image or a directory of images";

/// Selects the frames that iteration at a fixed rate returns.
class RateFilter {
 public:
  /// `fps` 0 selects all frames.
  explicit RateFilter(double fps) : fps_(fps) {}

  void reset() noexcept { passed_ = 0; }

  /// Whether the frame at `time` (seconds) is selected. If the time goes back, the grid starts
  /// again.
  bool select(double time) {
    if (fps_ <= 0.0) return true;
    if (time < last_time_) passed_ = 0;  // after a single wrong timestamp
    last_time_ = time;
    if (passed_ > 0 && time < first_time_ + static_cast<double>(passed_) / fps_ - 1e-6)
      return false;
    if (passed_ == 0) first_time_ = time;
    // After a gap in the source the grid continues; grid points inside the gap are not made up for.
    passed_ = std::max(passed_ + 1, static_cast<Index>((time - first_time_) * fps_ + 1e-6) + 1);
    return true;
  }

 private:
  double fps_;
  Index passed_ = 0;  // grid points that have passed
  double first_time_ = 0.0;
  double last_time_ = 0.0;  // of the last frame that was offered
};

}  // namespace detail

/// Interface of the kinds of sources.
class Video::Source {
 public:
  Source(std::string name, const VideoOptions& options)
      : name_(std::move(name)), options_(options), rate_filter_(options.fps) {}
  virtual ~Source() = default;
  Source(const Source&) = delete;
  Source& operator=(const Source&) = delete;

  const VideoInfo& info() const noexcept { return info_; }
  const std::string& name() const noexcept { return name_; }
  /// Whether this process opened the source.
  bool is_own() const noexcept { return origin_.is_this_process(); }
  virtual Index decoded_frames() const noexcept = 0;

  /// Whether the source can be read from its start again, so that frames can be chosen by index.
  virtual bool seekable() const noexcept { return true; }
  /// The next frames of a source that is not seekable, see SampleOptions::live_seconds.
  virtual std::vector<Frame> take(Index, const SampleOptions&) { return {}; }
  /// Determines info().frame_count.
  virtual void build_index(const CancelToken& cancel) = 0;
  /// The indices, from 0, that the sampling rule chooses.
  virtual std::vector<Index> choose(Index n, const SampleOptions& options) const = 0;
  /// Appends the frames of these ascending, distinct, valid indices. False: the file is damaged and
  /// info().frame_count was wrong. It is corrected now, and the caller has to choose indices again.
  virtual bool fetch(const std::vector<Index>& indices, const FrameTransform& transform,
                     const CancelToken& cancel, std::vector<Frame>& frames) = 0;
  /// The next frame at options().fps.
  virtual std::optional<Frame> next(const CancelToken& cancel) = 0;
  virtual void rewind() = 0;

  virtual SourceStats stats() const {
    return {.received = decoded_frames(), .delivered = delivered_, .damaged = info_.skipped_frames};
  }
  void count_delivered() noexcept { ++delivered_; }

 protected:
  static Frame transformed(Frame frame, const FrameTransform& transform) {
    return transform ? transform(frame) : frame;
  }
  [[noreturn]] void fail(const std::string& problem) const { throw MediaError(name_, problem); }

  detail::ForkOrigin origin_;
  std::string name_;
  VideoOptions options_;
  VideoInfo info_;
  detail::RateFilter rate_filter_;
  Index delivered_ = 0;
};

}  // namespace pllava
