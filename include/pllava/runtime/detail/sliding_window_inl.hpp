// Bodies of runtime/sliding_window.hpp.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <string>
#include <utility>

#include "pllava/media/frame_sampling.hpp"
#include "pllava/runtime/sliding_window.hpp"

namespace pllava {

namespace detail {

/// Cells along each side of the grid that finds changes: those of the vision tower's patches at 336
/// pixels.
inline constexpr Index kChangeGrid = 24;

/// Mean luma (BT.601) of the cells of a frame in host memory, row by row. Small frames repeat
/// pixels. At most 8 x 8 pixels of a cell are read.
inline std::vector<float> mean_luma_cells(const Frame& frame) {
  const Index channels = channels_of(frame.format);
  const bool blue_first = frame.format == PixelFormat::bgr || frame.format == PixelFormat::bgra;
  const auto luma = [&](Index x, Index y) {
    const std::uint8_t* p = frame.data + y * frame.stride + x * channels;
    if (channels == 1) return static_cast<float>(p[0]);
    const float first = p[0], third = p[2];
    const float red = blue_first ? third : first, blue = blue_first ? first : third;
    return 0.299f * red + 0.587f * static_cast<float>(p[1]) + 0.114f * blue;
  };
  std::vector<float> cells;
  cells.reserve(kChangeGrid * kChangeGrid);
  const auto begin = [](Index i, Index size) { return std::min(i * size / kChangeGrid, size - 1); };
  const auto end = [&](Index i, Index size) {
    return std::max((i + 1) * size / kChangeGrid, begin(i, size) + 1);
  };
  for (Index j = 0; j < kChangeGrid; ++j)
    for (Index i = 0; i < kChangeGrid; ++i) {
      const Index x0 = begin(i, frame.width), x1 = end(i, frame.width);
      const Index y0 = begin(j, frame.height), y1 = end(j, frame.height);
      const Index dx = std::max<Index>(1, (x1 - x0) / 8), dy = std::max<Index>(1, (y1 - y0) / 8);
      float sum = 0;
      Index count = 0;
      for (Index y = y0; y < y1; y += dy)
        for (Index x = x0; x < x1; x += dx, ++count) sum += luma(x, y);
      cells.push_back(sum / static_cast<float>(count));
    }
  return cells;
}

inline double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  float largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::fabs(a[i] - b[i]));
  return largest;
}

/// Whether two frames have the same size, format and pixels.
inline bool equal_pixels(const Frame& a, const Frame& b) {
  if (same_image(a, b)) return true;
  if (a.data == nullptr || b.data == nullptr || a.device != nullptr || b.device != nullptr)
    return false;
  if (a.width != b.width || a.height != b.height || a.format != b.format) return false;
  const auto row_bytes = static_cast<std::size_t>(a.width * channels_of(a.format));
  for (Index y = 0; y < a.height; ++y)
    if (std::memcmp(a.data + y * a.stride, b.data + y * b.stride, row_bytes) != 0) return false;
  return true;
}

/// The frame itself if something keeps its pixels alive, else a copy.
inline Frame owned(const Frame& frame) {
  if (frame.owner != nullptr || frame.device != nullptr || frame.data == nullptr) return frame;
  Frame copy = Frame::copy(frame.data, frame.width, frame.height, frame.format, frame.stride);
  copy.time = frame.time, copy.index = frame.index;
  return copy;
}

}  // namespace detail

PLLAVA_INLINE SlidingWindow::SlidingWindow(std::shared_ptr<const Model> model,
                                           const PreprocessConfig& preprocess,
                                           const WindowOptions& options)
    : model_(std::move(model)),
      encoder_(model_->make_encoder()),
      preprocess_(preprocess),
      capacity_(options.frames != 0 ? options.frames : model_->config().frames),
      still_below_(options.still_below) {
  const ModelConfig& config = model_->config();
  if (capacity_ < 0)
    throw ArgumentError("a window of " + std::to_string(options.frames) +
                        " frames; expected 1 or more, or 0 for the model's");
  if (!(still_below_ >= 0))
    throw ArgumentError("still_below is " + std::to_string(still_below_) + "; expected 0 or more");
  if (config.pool.output.t != config.frames)
    throw ArgumentError("the model pools " + std::to_string(config.frames) + " frames to " +
                        std::to_string(config.pool.output.t) +
                        ": its frames have no tokens of their own, so a window cannot slide");
}

PLLAVA_INLINE void SlidingWindow::push(const Frame& frame, const RunControl& control) {
  const bool repeated = last_ && detail::equal_pixels(*last_, frame);
  Slot slot{{}, frame.time};
  std::vector<float> cells;
  bool still = false;
  if (!repeated && still_below_ > 0 && frame.data != nullptr && frame.device == nullptr) {
    cells = detail::mean_luma_cells(frame);
    still =
        !encoded_cells_.empty() && detail::largest_difference(cells, encoded_cells_) < still_below_;
  }
  std::optional<Frame> kept;
  if (repeated || still)
    slot.tokens = slots_.back().tokens;
  else
    slot.tokens = encoder_->encode_frames({&frame, 1}, preprocess_, control);
  if (!repeated) kept = detail::owned(frame);
  slots_.push_back(std::move(slot));
  if (size() > capacity_) slots_.pop_front();
  if (kept) last_ = std::move(kept);
  if (!repeated && !still) encoded_cells_ = std::move(cells);
  ++(repeated ? counts_.repeated : still ? counts_.still : counts_.encoded);
}

PLLAVA_INLINE void SlidingWindow::clear() noexcept {
  slots_.clear();
  last_.reset();
  encoded_cells_.clear();
}

PLLAVA_INLINE EncodedVideo SlidingWindow::video() const {
  if (slots_.empty()) throw ArgumentError("the sliding window has no frames yet");
  std::vector<EncodedVideo> frames;
  const Index wanted = model_->config().frames;
  if (size() < wanted)
    for (const Index i : demo_indices(size(), wanted))
      frames.push_back(slots_[static_cast<std::size_t>(i)].tokens);
  else
    for (const Slot& slot : slots_) frames.push_back(slot.tokens);
  return EncodedVideo::concatenate(frames);
}

PLLAVA_INLINE std::vector<double> SlidingWindow::times() const {
  std::vector<double> times;
  for (const Slot& slot : slots_) times.push_back(slot.time);
  return times;
}

}  // namespace pllava
