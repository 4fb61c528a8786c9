// Which frames of a video the model sees. The reference has two rules that look alike and are not;
// they are kept apart under their own names.
#pragma once

#include <optional>
#include <vector>

#include "pllava/config.hpp"
#include "pllava/error.hpp"

namespace pllava {

/// `eval`: the evaluation data sets' rule, which knows time bounds. `demo`: the demo program's. On
/// a whole video both choose the same frames.
enum class SamplingRule { eval, demo };

/// A stretch of a video in seconds from its start.
struct TimeRange {
  double start = 0.0;
  double end = 0.0;
};

/// Input of `eval_indices`.
struct EvalSampling {
  Index frames = 16;    ///< n, how many indices to choose
  Index max_frame = 0;  ///< last index that may be chosen; for a video its length - 1
  double fps = 0.0;     ///< turns bounds into frames; 0 (unknown) is allowed without bounds
  std::optional<TimeRange> bounds = {};
  Index first_index = 0;  ///< number of the first frame: 0, or 1 for numbered picture files
};

/// Evaluation rule (reference: EvalDataset.get_index): n indices at the middles of n equal
/// segments, in doubles, with Python's rounding. Short videos repeat indices. Throws ArgumentError:
/// n < 1, no frames, bounds that are reversed, lie outside of the video or come without fps. (The
/// reference answers bounds past the end with indices past the end.)
std::vector<Index> eval_indices(const EvalSampling& sampling);

/// Demo rule (reference: get_index of the demo and recaption programs): the half segment is
/// truncated before it is added. Throws ArgumentError: n < 1 or no frames.
std::vector<Index> demo_indices(Index total_frames, Index n);

/// Indices from 0 into a video of `total_frames` frames. Only `eval` takes bounds.
/// Throws ArgumentError as the rule does, and for bounds with `demo`.
std::vector<Index> sample_indices(SamplingRule rule, Index total_frames, Index n, double fps = 0.0,
                                  std::optional<TimeRange> bounds = std::nullopt);

/// Frames a second that the reference assumes for a directory of pictures.
inline constexpr double kImageDirectoryFps = 3.0;

/// Evaluation rule for a directory of numbered pictures (reference: read_frame): numbers from 1, so
/// the first file is 1 and the last is `files`. Throws ArgumentError as `eval_indices` does.
std::vector<Index> image_numbers(Index files, Index n,
                                 std::optional<TimeRange> bounds = std::nullopt);

}  // namespace pllava

#ifndef PLLAVA_COMPILED
#include "pllava/media/detail/frame_sampling_inl.hpp"
#endif
