// Converts frames of any size to the input of the vision encoder: square 8-bit crops, then
// normalised floats. The result equals the reference's bit for bit: Pillow's bicubic resampling in
// two stages (PLLaVA's resize_crop_longshort, then CLIP's image processor), each rounded to 8 bits;
// or in one stage (SigLIP's image processor).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <span>
#include <utility>
#include <vector>

#include "pllava/media/distinct_frames.hpp"
#include "pllava/media/image.hpp"

namespace pllava {

/// How a frame becomes a square.
enum class FrameFit : std::uint8_t {
  crop,    ///< stage 1, then the short edge is scaled to S and the center cropped (PLLaVA, CLIP)
  stretch  ///< the whole frame is scaled to S x S, whatever its shape (SigLIP); no stage 1
};

/// Constants of preprocessing, named as in preprocessor_config.json. The defaults are those of the
/// published checkpoints.
struct PreprocessConfig {
  Index image_size = 336;  ///< S, side of the square in pixels, 1 to 4096
  FrameFit fit = FrameFit::crop;
  Index long_edge = 640;  ///< stage 1 scales larger frames down to this long edge, in pixels
  double rescale_factor = 0.00392156862745098;  ///< maps 8-bit values to [0, 1]
  std::array<float, 3> image_mean{0.48145466f, 0.4578275f, 0.40821073f};  ///< R, G, B
  std::array<float, 3> image_std{0.26862954f, 0.26130258f, 0.27577711f};  ///< R, G, B

  /// Reads what transformers reads for a video, the first of these in a checkpoint directory: the
  /// video_processor of `processor_config.json`, `video_preprocessor_config.json`, the
  /// image_processor of `processor_config.json`, `preprocessor_config.json`; returns the defaults
  /// if there is none. A size of "height" and "width" means FrameFit::stretch, any other a crop.
  /// Throws LoadError: malformed file, values out of range, or unsupported steps (no center crop,
  /// padding, another resampling filter, ...).
  static PreprocessConfig from_directory(const std::filesystem::path& directory);
  /// Whether the directory has one of these. Throws LoadError for a malformed file.
  static bool is_stored_in(const std::filesystem::path& directory);
};

/// Pillow's `Image.resize` with the bicubic filter for 8-bit channels. Values equal those of the
/// reference's Pillow 10.2, which runs the horizontal pass first. (Later versions choose the order
/// by size.) Returns dense RGB of `width` x `height` with the time and index of `frame`. Throws
/// MediaError: a frame without pixels, a size below 1 or a result above 64 MiB.
Frame resize(const Frame& frame, Index width, Index height);

/// Edges in pixels to which stage 1 scales and crops a frame.
struct StageOneSize {
  Index short_edge = 0;
  Index long_edge = 0;
  constexpr bool operator==(const StageOneSize&) const = default;
};

/// Steps 1-5 of resize_crop_longshort for a frame of this size. (The reference computes them for
/// the first frame of a clip and crops frames of another shape by the result, which can keep a
/// sliver of them; see `crop_frames`.) For FrameFit::stretch the edges of the frame. Throws
/// MediaError for sizes below 1 and for aspect ratios where stage 1 would exceed 64 MiB.
StageOneSize stage_one_size(Index width, Index height, const PreprocessConfig& config = {});

/// Steps 6-7 of resize_crop_longshort for one frame: scales the short edge to `size.short_edge`,
/// then crops the long axis to `size.long_edge`. As in the reference, the crop is off-center if
/// `size` was computed for another aspect ratio.
/// Throws MediaError where the reference fails or the scaled frame would exceed 64 MiB.
Frame resize_crop_longshort(const Frame& frame, const StageOneSize& size,
                            const PreprocessConfig& config = {});

/// All stages for one frame: (S, S) dense RGB. Computes only the pixels that the crop needs, with
/// the values of the full computation. Throws as `resize_crop_longshort`.
Frame crop_frame(const Frame& frame, const StageOneSize& size, const PreprocessConfig& config = {});

/// Crops frames of more than `min_pixels` pixels and returns others as they are. Preprocessing a
/// frame and its crop gives the same pixels, so this saves memory: a frame of 8K has 100 MB, its
/// crop 0.3 MB. Throws as `crop_frame`.
Frame crop_large_frame(const Frame& frame, const PreprocessConfig& config = {},
                       Index min_pixels = Index{1920} * 1088);

/// Default executor: runs n independent jobs in order. A thread pool's `parallel_for` with the same
/// signature can replace it. Jobs do not throw.
struct Serial {
  template <class Job>
  void operator()(Index n, Job&& job) const {
    for (Index i = 0; i < n; ++i) job(i);
  }
};

/// Crops all frames of a clip: T frames of (S, S). Each frame is scaled and cropped by its own
/// shape; for clips of one shape this is the reference's result. Repeated frames share a crop.
/// Throws MediaError for no frames and as `crop_frame` does.
template <class ParallelFor = Serial>
std::vector<Frame> crop_frames(std::span<const Frame> frames, const PreprocessConfig& config = {},
                               ParallelFor&& parallel_for = {}) {
  if (frames.empty()) throw MediaError("", "a clip without frames");
  const DistinctFrames distinct(frames);
  std::vector<Frame> distinct_crops(distinct.frames.size());
  std::vector<std::exception_ptr> errors(distinct.frames.size());
  parallel_for(static_cast<Index>(distinct.frames.size()), [&](Index i) {
    const auto job = static_cast<std::size_t>(i);
    try {
      const Frame& frame = distinct.frames[job];
      const StageOneSize size = stage_one_size(frame.width, frame.height, config);
      distinct_crops[job] = crop_frame(frame, size, config);
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

/// One crop as float32, channels first:
/// out (3, S, S) = (u8 · rescale_factor - image_mean) / image_std.
/// Throws MediaError if the crop is not S x S.
void normalise(const Frame& crop, float* out, const PreprocessConfig& config = {});

/// Crops and normalises all frames of a clip: out (T, 3, S, S), row-major. Throws as `crop_frames`.
template <class ParallelFor = Serial>
void preprocess(std::span<const Frame> frames, float* out, const PreprocessConfig& config = {},
                ParallelFor&& parallel_for = {}) {
  const std::vector<Frame> crops = crop_frames(frames, config, parallel_for);
  const Index frame_values = 3 * config.image_size * config.image_size;
  parallel_for(static_cast<Index>(crops.size()), [&](Index t) {
    normalise(crops[static_cast<std::size_t>(t)], out + t * frame_values, config);
  });
}

/// Returns the same values as a vector.
template <class ParallelFor = Serial>
std::vector<float> preprocess(const Clip& clip, const PreprocessConfig& config = {},
                              ParallelFor&& parallel_for = {}) {
  const auto frame_values = static_cast<std::size_t>(3 * config.image_size * config.image_size);
  std::vector<float> pixels(clip.frames.size() * frame_values);
  preprocess(clip.frames, pixels.data(), config, std::forward<ParallelFor>(parallel_for));
  return pixels;
}

}  // namespace pllava

#ifndef PLLAVA_COMPILED
#include "pllava/media/detail/preprocess_config_inl.hpp"
#include "pllava/media/detail/preprocess_inl.hpp"
#endif
