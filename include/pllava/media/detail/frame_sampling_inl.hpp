// Definitions of frame_sampling.hpp. The order of the double operations is the reference's.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>
#include <utility>

#include "pllava/media/frame_sampling.hpp"

namespace pllava {
namespace detail {

/// Largest frame index, and the limit of times converted to frames: exact in a double.
inline constexpr Index kMaxFrameNumber = Index{1} << 52;
/// Maximum number of indices per call.
inline constexpr Index kMaxSamples = Index{1} << 24;

/// Rounds halves to even, independently of the floating-point rounding mode: Python's round(),
/// numpy's rint().
PLLAVA_INLINE double round_half_even(double x) {
  if (std::abs(x) >= 0x1p52) return x;
  const double below = std::floor(x);
  const double rest = x - below;
  if (rest != 0.5) return rest < 0.5 ? below : below + 1.0;
  return std::fmod(below, 2.0) == 0.0 ? below : below + 1.0;
}

/// Frame index at `seconds`, clamped to +-kMaxFrameNumber.
PLLAVA_INLINE Index frame_at(double seconds, double fps) {
  const double limit = static_cast<double>(kMaxFrameNumber);
  return static_cast<Index>(std::clamp(round_half_even(seconds * fps), -limit, limit));
}

PLLAVA_INLINE void check_sampling(Index n, Index total_frames) {
  if (n < 1 || n > kMaxSamples)
    throw ArgumentError("cannot sample " + std::to_string(n) + " frames; expected 1 to " +
                        std::to_string(kMaxSamples));
  if (total_frames < 1 || total_frames > kMaxFrameNumber)
    throw ArgumentError("cannot sample from a video of " + std::to_string(total_frames) +
                        " frames");
}

PLLAVA_INLINE std::string describe(const TimeRange& range) {
  char text[96];
  std::snprintf(text, sizeof text, "bounds %g to %g s", range.start, range.end);
  return text;
}

}  // namespace detail

PLLAVA_INLINE std::vector<Index> eval_indices(const EvalSampling& sampling) {
  const Index n = sampling.frames;
  if (sampling.first_index < 0 || sampling.first_index > detail::kMaxFrameNumber)
    throw ArgumentError("first_index " + std::to_string(sampling.first_index) + "; expected 0 to " +
                        std::to_string(detail::kMaxFrameNumber));
  // The minimum keeps the sum below from overflowing; check_sampling refuses such counts.
  const Index last_number = std::min(sampling.max_frame, detail::kMaxFrameNumber * 2);
  detail::check_sampling(n, last_number < 0 ? 0 : last_number - sampling.first_index + 1);
  if (!(sampling.fps >= 0.0) || std::isinf(sampling.fps))
    throw ArgumentError("fps must be a finite number, 0 if unknown");

  Index first = sampling.first_index;
  Index last = sampling.max_frame;
  if (sampling.bounds) {
    const TimeRange range = *sampling.bounds;
    if (!std::isfinite(range.start) || !std::isfinite(range.end) || range.start > range.end)
      throw ArgumentError(detail::describe(range) + ": expected start <= end");
    if (sampling.fps == 0.0) throw ArgumentError(detail::describe(range) + " need a known fps");
    first = std::max(first, detail::frame_at(range.start, sampling.fps));
    last = std::min(detail::frame_at(range.end, sampling.fps), last);
    if (first > last)
      throw ArgumentError(detail::describe(range) + " are frames " + std::to_string(first) +
                          " to " + std::to_string(detail::frame_at(range.end, sampling.fps)) +
                          "; the video has " + std::to_string(sampling.first_index) + " to " +
                          std::to_string(sampling.max_frame));
  } else if (sampling.fps > 0.0) {
    // Without bounds the reference limits the end to 100000 s.
    last = std::min(std::max(first, detail::frame_at(100000.0, sampling.fps)), last);
  }

  const double segment = static_cast<double>(last - first) / static_cast<double>(n);
  std::vector<Index> indices;
  indices.reserve(static_cast<std::size_t>(n));
  for (Index i = 0; i < n; ++i) {
    const double middle = static_cast<double>(first) + segment / 2;
    const double offset = detail::round_half_even(segment * static_cast<double>(i));
    indices.push_back(static_cast<Index>(middle + offset));
  }
  return indices;
}

PLLAVA_INLINE std::vector<Index> demo_indices(Index total_frames, Index n) {
  detail::check_sampling(n, total_frames);
  const double segment = static_cast<double>(total_frames - 1) / static_cast<double>(n);
  const Index start = static_cast<Index>(segment / 2);
  std::vector<Index> indices;
  indices.reserve(static_cast<std::size_t>(n));
  for (Index i = 0; i < n; ++i)
    indices.push_back(
        start + static_cast<Index>(detail::round_half_even(segment * static_cast<double>(i))));
  return indices;
}

namespace detail {

/// Number of the frame on display at `time`; 0 before the first.
PLLAVA_INLINE Index frame_on_display(std::span<const double> starts, double time) {
  const auto after = std::upper_bound(starts.begin(), starts.end(), time);
  return std::max<Index>(0, static_cast<Index>(after - starts.begin()) - 1);
}

/// Numbers of the first and the last frame that begin inside of the bounds, or twice the number of
/// the frame on display at their start.
PLLAVA_INLINE std::pair<Index, Index> frames_within(const FrameTimes& times,
                                                    const TimeRange& range) {
  constexpr double kRounding = 1e-6;  // of times that are multiples of a frame interval
  if (!std::isfinite(range.start) || !std::isfinite(range.end) || range.start > range.end)
    throw ArgumentError(describe(range) + ": expected start <= end");
  if (range.end < 0.0 || range.start >= times.end) {
    char text[64];
    std::snprintf(text, sizeof text, "; the video has 0 to %g s", times.end);
    throw ArgumentError(describe(range) + " are outside of the video" + text);
  }
  const auto begin = times.starts.begin();
  const auto first = std::lower_bound(begin, times.starts.end(), range.start - kRounding);
  const auto last = std::upper_bound(begin, times.starts.end(), range.end + kRounding);
  if (first < last) return {first - begin, last - begin - 1};
  const Index shown = frame_on_display(times.starts, range.start);
  return {shown, shown};
}

}  // namespace detail

PLLAVA_INLINE std::vector<Index> sample_indices(SamplingRule rule, const FrameTimes& times, Index n,
                                                double fps, std::optional<TimeRange> bounds) {
  const auto total = static_cast<Index>(times.starts.size());
  detail::check_sampling(n, total);
  if (rule == SamplingRule::demo || (rule == SamplingRule::eval && !bounds))
    return sample_indices(rule, total, n, fps, bounds);
  const auto [first, last] =
      bounds ? detail::frames_within(times, *bounds) : std::pair<Index, Index>{0, total - 1};
  if (rule == SamplingRule::eval)
    return eval_indices({.frames = n, .max_frame = last, .first_index = first});

  const double start = times.starts[static_cast<std::size_t>(first)];
  const double end = bounds && last + 1 < total
                         ? std::min(bounds->end, times.starts[static_cast<std::size_t>(last) + 1])
                         : times.end;
  std::vector<Index> indices;
  indices.reserve(static_cast<std::size_t>(n));
  for (Index i = 0; i < n; ++i) {
    const double part = (static_cast<double>(i) + 0.5) / static_cast<double>(n);
    const Index shown = detail::frame_on_display(times.starts, start + (end - start) * part);
    indices.push_back(std::clamp(shown, first, last));
  }
  return indices;
}

PLLAVA_INLINE std::vector<Index> sample_indices(SamplingRule rule, Index total_frames, Index n,
                                                double fps, std::optional<TimeRange> bounds) {
  detail::check_sampling(n, total_frames);
  if (rule == SamplingRule::eval)
    return eval_indices({.frames = n, .max_frame = total_frames - 1, .fps = fps, .bounds = bounds});
  if (rule == SamplingRule::demo) {
    if (bounds) throw ArgumentError("the demo sampling rule has no time bounds; use eval or time");
    return demo_indices(total_frames, n);
  }
  if (!(fps > 0.0) || std::isinf(fps))
    throw ArgumentError("the time sampling rule needs a known fps");
  std::vector<double> starts(static_cast<std::size_t>(total_frames));
  for (std::size_t i = 0; i < starts.size(); ++i) starts[i] = static_cast<double>(i) / fps;
  return sample_indices(rule, {starts, static_cast<double>(total_frames) / fps}, n, fps, bounds);
}

PLLAVA_INLINE std::vector<Index> image_numbers(Index files, Index n,
                                               std::optional<TimeRange> bounds) {
  return eval_indices({.frames = n,
                       .max_frame = files,
                       .fps = kImageDirectoryFps,
                       .bounds = bounds,
                       .first_index = 1});
}

}  // namespace pllava
