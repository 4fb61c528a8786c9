// Presentation times of a source whose clock may restart, jump or contain single wrong values.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "ffmpeg_handles.hpp"

namespace pllava::detail {

/// How far timestamps may differ from the expected ones before they count as a jump of the clock.
struct ClockLimits {
  /// Seconds back. Reordered frames and rounding differ by less.
  static constexpr double kBack = 0.5;
  /// Seconds ahead, in formats whose clock may jump (MPEG-TS and others). Elsewhere a gap is time
  /// in which nothing changes, as in screen recordings.
  static constexpr double kAhead = 10.0;
};

/// Converts the timestamps of decoded frames, in their order, to seconds from the first frame.
/// After a jump of the clock the time continues one frame interval after the last frame.
class Timeline {
 public:
  /// `tick`: seconds per unit of the timestamps. `interval`: seconds between frames; used for
  /// frames without a timestamp and after jumps. `may_jump`: the format allows jumps ahead.
  Timeline(double tick, double interval, bool may_jump)
      : tick_(tick), interval_(interval), may_jump_(may_jump) {}

  void reset() noexcept { count_ = 0; }

  /// Time of the next frame.
  double next(std::int64_t pts) {
    if (pts == AV_NOPTS_VALUE) return commit(count_ == 0 ? 0.0 : last_ + interval_);
    if (count_ == 0) {
      origin_ = pts;
      base_ = 0.0;
      return commit(0.0);
    }
    // Wraps instead of overflowing; wrong timestamps can have any value.
    const auto units = static_cast<std::int64_t>(static_cast<std::uint64_t>(pts) -
                                                 static_cast<std::uint64_t>(origin_));
    const double time = static_cast<double>(units) * tick_ + base_;
    if (time < last_ - ClockLimits::kBack) {
      // After one wrong timestamp the clock continues where it was before.
      const double expected = before_gap_ + 2 * interval_;
      if (count_ == gap_end_ + 1 && std::abs(time - expected) < ClockLimits::kAhead)
        return commit(std::max(time, before_gap_ + interval_));
      return restart(pts);
    }
    if (time > last_ + ClockLimits::kAhead) {
      if (may_jump_) return restart(pts);
      before_gap_ = last_;
      gap_end_ = count_;
    }
    return commit(time > last_ ? time : last_ + interval_ * 1e-3);
  }

 private:
  double restart(std::int64_t pts) {
    origin_ = pts;
    base_ = last_ + interval_;
    return commit(base_);
  }
  double commit(double time) {
    ++count_;
    return last_ = time;
  }

  double tick_;
  double interval_;
  bool may_jump_;
  std::int64_t count_ = 0;   // frames since the start
  std::int64_t origin_ = 0;  // timestamp at the time base_
  double base_ = 0.0;
  double last_ = 0.0;          // time of the last frame
  double before_gap_ = 0.0;    // time of the frame before the last accepted gap
  std::int64_t gap_end_ = -2;  // number of the frame after it
};

}  // namespace pllava::detail
