// Chooses the frames of a video that the model sees. The reference has two rules, which differ in
// rounding and in time bounds.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "pllava/config.hpp"
#include "pllava/error.hpp"

namespace pllava {

/// `eval`: rule of the evaluation data sets, with optional time bounds. `demo`: rule of the demo
/// program, without them. On a whole video both choose the same frames. `time`: the frames on
/// display at equally spaced times, with optional bounds; every part of a video of variable rate
/// gets frames in proportion to its length. (The other rules space frame numbers equally.)
enum class SamplingRule { eval, demo, time };

/// Part of a video, in seconds from its start.
struct TimeRange {
  double start = 0.0;
  double end = 0.0;
};

/// Input of `eval_indices`.
struct EvalSampling {
  Index frames = 16;    ///< n, number of indices to choose
  Index max_frame = 0;  ///< largest index that can be chosen: frame count - 1 for a video
  double fps = 0.0;     ///< converts bounds to frames; without bounds it can be 0 (unknown)
  std::optional<TimeRange> bounds = {};
  Index first_index = 0;  ///< index of the first frame: 0, or 1 for numbered image files
};

/// Evaluation rule (reference: EvalDataset.get_index): n indices at the centers of n equal
/// segments, computed in doubles with Python's rounding. Short videos repeat indices. Throws
/// ArgumentError: n < 1, no frames, bounds that are reversed, outside of the video or without fps.
/// (For bounds past the end the reference returns indices past the end.)
std::vector<Index> eval_indices(const EvalSampling& sampling);

/// Demo rule (reference: get_index of the demo and recaption programs): half a segment is truncated
/// to an integer before it is added. Throws ArgumentError: n < 1 or no frames.
std::vector<Index> demo_indices(Index total_frames, Index n);

/// When the frames of a video are presented.
struct FrameTimes {
  std::span<const double> starts;  ///< seconds by frame number, ascending
  double end = 0.0;                ///< seconds; when the last frame ends
};

/// Applies a rule to a video whose frame times are known. With bounds, the chosen frames begin
/// inside of them; if no frame does, the frame on display at their start is chosen. `eval` then
/// applies to the numbers of the frames inside. (The reference converts bounds to frame numbers by
/// the average rate and can choose the frame before the start.) `fps` only serves the limit of
/// 100000 s of the reference. Throws ArgumentError as the rule does: reversed bounds, bounds that
/// begin after the end of the video or end before 0, bounds with `demo`.
std::vector<Index> sample_indices(SamplingRule rule, const FrameTimes& times, Index n,
                                  double fps = 0.0, std::optional<TimeRange> bounds = std::nullopt);

/// Applies a rule to a video of `total_frames` frames at a constant rate; indices start at 0.
/// Bounds are converted by the reference's formula. Throws ArgumentError as the rule does, and for
/// bounds with `demo`.
std::vector<Index> sample_indices(SamplingRule rule, Index total_frames, Index n, double fps = 0.0,
                                  std::optional<TimeRange> bounds = std::nullopt);

/// Frame rate that the reference assumes for a directory of images.
inline constexpr double kImageDirectoryFps = 3.0;

/// Evaluation rule for a directory of numbered images (reference: read_frame). Numbers start at 1;
/// the last one is `files`. Throws ArgumentError as `eval_indices` does.
std::vector<Index> image_numbers(Index files, Index n,
                                 std::optional<TimeRange> bounds = std::nullopt);

}  // namespace pllava

#ifndef PLLAVA_COMPILED
#include "pllava/media/detail/frame_sampling_inl.hpp"
#endif
