// The visual tokens of the last frames of a live video: a new frame costs the encoding of one
// frame, not of the whole window.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "pllava/runtime/inference_context.hpp"

namespace pllava {

struct WindowOptions {
  Index frames = 0;  ///< length of the window; 0: ModelConfig::frames
  /// A frame that shows no change since the last encoded one takes over its tokens. Both are
  /// compared as grids of 24 x 24 cells of mean luma (0 to 255): no cell may differ by this much.
  /// 0: off. The answers then differ from those over the clip.
  double still_below = 0;
};

/// Counts of the frames that `SlidingWindow::push` was given.
struct WindowCounts {
  Index encoded = 0;
  Index repeated = 0;  ///< equal to the frame before, pixel by pixel
  Index still = 0;     ///< not encoded, see WindowOptions::still_below
};

/// A session over `video()` answers as one over the clip of the same frames, bit for bit (unless
/// WindowOptions::still_below is set): in PLLaVA the tokens of a frame depend on that frame alone,
/// because the pooling keeps the time axis (paper, section 3.3).
/// Threads: belongs to one thread at a time. Sessions on other threads may use `video()`.
class SlidingWindow {
 public:
  /// Pipeline::window is shorter. Throws ArgumentError for a model that pools over time, whose
  /// frames have no tokens of their own, for a length below 0, and for a negative `still_below`.
  SlidingWindow(std::shared_ptr<const Model> model, const PreprocessConfig& preprocess,
                const WindowOptions& options = {});

  /// Encodes the frame and appends it; the oldest frame leaves a full window. Borrowed pixels may
  /// be overwritten after the call. If it throws (MediaError, CancelledError, OutOfMemoryError),
  /// the window is unchanged.
  void push(const Frame& frame, const RunControl& control = {});

  Index size() const noexcept { return static_cast<Index>(slots_.size()); }
  Index capacity() const noexcept { return capacity_; }
  bool full() const noexcept { return size() == capacity_; }
  void clear() noexcept;

  /// The tokens of the frames, oldest first. A window that is not full repeats frames as
  /// Pipeline::watch does for a short clip. Throws ArgumentError for an empty window.
  EncodedVideo video() const;
  /// Frame::time of the frames, oldest first.
  std::vector<double> times() const;
  const WindowCounts& counts() const noexcept { return counts_; }

 private:
  struct Slot {
    EncodedVideo tokens;
    double time;
  };

  std::shared_ptr<const Model> model_;
  std::unique_ptr<FrameEncoder> encoder_;
  PreprocessConfig preprocess_;
  Index capacity_;
  double still_below_;
  std::deque<Slot> slots_;
  std::optional<Frame> last_;         // the frame pushed last, owned
  std::vector<float> encoded_cells_;  // of the frame encoded last, if still_below is set
  WindowCounts counts_;
};

}  // namespace pllava

#ifndef PLLAVA_COMPILED
#include "pllava/runtime/detail/sliding_window_inl.hpp"
#endif
