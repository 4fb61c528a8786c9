// From pictures of any size to what the vision encoder reads: square 8-bit crops, then normalised
// floats. Bit for bit the reference's path: Pillow's bicubic resampling in two stages (PLLaVA's
// resize_crop_longshort, then CLIP's image processor), each rounded to 8 bits.
#pragma once

#include <array>
#include <cstddef>
#include <exception>
#include <filesystem>
#include <span>
#include <utility>
#include <vector>

#include "pllava/media/distinct_frames.hpp"
#include "pllava/media/image.hpp"

namespace pllava {

/// Constants of the path; the defaults are those of the published checkpoints.
struct PreprocessConfig {
  Index image_size = 336;  ///< S, side of the square crop in pixels, 1 to 4096
  Index long_edge = 640;   ///< stage 1 scales larger videos down to this long edge
  double rescale_factor = 0.00392156862745098;  ///< factor from 8-bit values to [0, 1]
  std::array<float, 3> image_mean{0.48145466f, 0.4578275f, 0.40821073f};  ///< R, G, B
  std::array<float, 3> image_std{0.26862954f, 0.26130258f, 0.27577711f};  ///< "std" of R, G, B

  /// Reads `preprocessor_config.json` of a checkpoint directory; the defaults if there is none.
  /// Throws LoadError: malformed file, nonsense values, or steps switched to something else than
  /// this path (no centre crop, another resampling filter, ...).
  static PreprocessConfig from_directory(const std::filesystem::path& directory);
};

/// Pillow's `Image.resize` with the bicubic filter for 8-bit channels, exactly as in the
/// reference's Pillow 10.2: horizontal pass first. (Later versions of Pillow choose the order by
/// size.) Result: dense RGB of `width` x `height`; time and index are kept. Throws MediaError: a
/// frame without pixels, a size below 1 or a result above 64 MiB.
Frame resize(const Frame& frame, Index width, Index height);

/// Size that stage 1 gives to the frames of a clip, decided by its first frame.
struct StageOneSize {
  Index short_edge = 0;
  Index long_edge = 0;
  constexpr bool operator==(const StageOneSize&) const = default;
};

/// Steps 1-5 of resize_crop_longshort for a clip whose first frame has this size.
/// Throws MediaError for sizes below 1 and for pictures so oblong that stage 1 exceeds 64 MiB.
StageOneSize stage_one_size(Index width, Index height, const PreprocessConfig& config = {});

/// Steps 6-7 of resize_crop_longshort for one frame: short edge to `size.short_edge`, then the
/// window of `size.long_edge` along the long axis. Like the reference, a frame of another aspect
/// than the first is cut off-centre.
/// Throws MediaError where the reference fails or the picture would exceed 64 MiB.
Frame resize_crop_longshort(const Frame& frame, const StageOneSize& size,
                            const PreprocessConfig& config = {});

/// Both stages for one frame: (S, S) dense RGB. Equal to the full computation, but computes only
/// the pixels that the crop needs. Throws as `resize_crop_longshort`.
Frame crop_frame(const Frame& frame, const StageOneSize& size, const PreprocessConfig& config = {});

/// The default way to run n independent jobs: one after the other. A thread pool's `parallel_for`
/// with the same call goes in its place; jobs never throw into it.
struct Serial {
  template <class Job>
  void operator()(Index n, Job&& job) const {
    for (Index i = 0; i < n; ++i) job(i);
  }
};

/// Crops of all frames of one clip, (T) pictures of (S, S).
/// Throws MediaError for no frames and as `crop_frame` does.
template <class ParallelFor = Serial>
std::vector<Frame> crop_frames(std::span<const Frame> frames, const PreprocessConfig& config = {},
                               ParallelFor&& parallel_for = {}) {
  if (frames.empty()) throw MediaError("", "a clip without frames");
  const StageOneSize size = stage_one_size(frames[0].width, frames[0].height, config);
  const DistinctFrames distinct(frames);
  std::vector<Frame> distinct_crops(distinct.frames.size());
  std::vector<std::exception_ptr> errors(distinct.frames.size());
  parallel_for(static_cast<Index>(distinct.frames.size()), [&](Index i) {
    const auto job = static_cast<std::size_t>(i);
    try {
      distinct_crops[job] = crop_frame(distinct.frames[job], size, config);
    } catch (...) {
      errors[job] = std::current_exception();
    }
  });
  for (const std::exception_ptr& error : errors)
    if (error) std::rethrow_exception(error);
  std::vector<Frame> crops;
  crops.reserve(frames.size());
  for (std::size_t t = 0; t < frames.size(); ++t) {
    Frame& crop = crops.emplace_back(distinct_crops[distinct.index[t]]);
    crop.time = frames[t].time;
    crop.index = frames[t].index;
  }
  return crops;
}

/// One crop as float32, channels first: out (3, S, S) = (u8 · rescale - mean) / deviation.
/// Throws MediaError if the crop is not S x S.
void normalise(const Frame& crop, float* out, const PreprocessConfig& config = {});

/// The whole path: out (T, 3, S, S), row-major. Throws as `crop_frames`.
template <class ParallelFor = Serial>
void preprocess(std::span<const Frame> frames, float* out, const PreprocessConfig& config = {},
                ParallelFor&& parallel_for = {}) {
  const std::vector<Frame> crops = crop_frames(frames, config, parallel_for);
  const Index picture = 3 * config.image_size * config.image_size;
  parallel_for(static_cast<Index>(crops.size()), [&](Index t) {
    normalise(crops[static_cast<std::size_t>(t)], out + t * picture, config);
  });
}

/// The same as a vector.
template <class ParallelFor = Serial>
std::vector<float> preprocess(const Clip& clip, const PreprocessConfig& config = {},
                              ParallelFor&& parallel_for = {}) {
  const auto picture = static_cast<std::size_t>(3 * config.image_size * config.image_size);
  std::vector<float> pixels(clip.frames.size() * picture);
  preprocess(clip.frames, pixels.data(), config, std::forward<ParallelFor>(parallel_for));
  return pixels;
}

}  // namespace pllava

#ifndef PLLAVA_COMPILED
#include "pllava/media/detail/preprocess_config_inl.hpp"
#include "pllava/media/detail/preprocess_inl.hpp"
#endif
