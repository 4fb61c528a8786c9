// Encoded visual tokens: sessions append them; windows and caches of frames keep them.
#pragma once

#include <algorithm>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "pllava/core/control.hpp"
#include "pllava/error.hpp"

namespace pllava {

/// Intermediate results of one clip, for comparison with the reference. All f32, row-major.
struct Trace {
  std::vector<float> pixel_values;      ///< (T, 3, S, S)
  std::vector<float> vision_features;   ///< (T·P, D)
  std::vector<float> video_embeddings;  ///< (t·h·w, D)
};

/// Wall time of the stages, in milliseconds.
struct VideoTimings {
  double preprocess_ms = 0, vision_ms = 0, project_ms = 0, prefill_ms = 0;
};

/// The visual tokens of a clip, in the memory of the backend that encoded them. Immutable; copies
/// share the rows. Only the model that encoded them can use them.
/// Threads: safe to share.
class EncodedVideo {
 public:
  EncodedVideo() = default;

  Index frames() const noexcept { return frames_; }
  /// Rows that a context appends: the tokens of the frames, and the rows after the last frame that
  /// some families have.
  Index tokens() const noexcept { return tokens_ + end_rows_; }
  /// Rows that it would append if none had been left out: see FrameEncoder::without_repeats.
  Index places() const noexcept {
    return (places_.empty() ? tokens_ : frames_ * all_tokens_per_frame_) + end_rows_;
  }
  /// Tokens of each frame; 0 if the model pools over time, so that tokens mix frames, and if tokens
  /// were left out.
  Index tokens_per_frame() const noexcept { return tokens_per_frame_; }
  /// The largest number of frames at the end of this video that `next` begins with, token for token
  /// the same rows in memory: what stays when a window slides. 0 without tokens per frame.
  Index frames_shared_with(const EncodedVideo& next) const {
    if (tokens_per_frame_ == 0 || next.tokens_per_frame_ != tokens_per_frame_) return 0;
    const std::vector<FrameRows> mine = frame_rows(), others = next.frame_rows();
    for (std::size_t n = std::min(mine.size(), others.size()); n > 0; --n)
      if (std::equal(mine.end() - static_cast<std::ptrdiff_t>(n), mine.end(), others.begin()))
        return static_cast<Index>(n);
    return 0;
  }
  /// Whether both consist of the same rows in memory.
  bool same_tokens(const EncodedVideo& other) const {
    return frames_ == other.frames_ && tokens_per_frame_ == other.tokens_per_frame_ &&
           places_ == other.places_ &&
           (tokens_per_frame_ > 0 ? frame_rows() == other.frame_rows() : pieces_ == other.pieces_);
  }
  /// Times of the stages; prefill_ms is 0. A slice keeps the times of its source.
  const VideoTimings& timings() const noexcept { return timings_; }

  /// Frames [begin, begin + count). Throws ArgumentError outside the clip or without tokens per
  /// frame.
  EncodedVideo slice(Index begin, Index count) const {
    if (tokens_per_frame_ == 0)
      throw ArgumentError("a video without tokens per frame cannot be sliced");
    if (begin < 0 || count < 1 || begin + count > frames_)
      throw ArgumentError("frames " + std::to_string(begin) + " to " +
                          std::to_string(begin + count) + " of " + std::to_string(frames_));
    EncodedVideo part = *this;
    part.pieces_.clear();
    part.frames_ = count;
    part.tokens_ = count * tokens_per_frame_;
    Index skip = begin * tokens_per_frame_, left = part.tokens_;
    for (const Piece& piece : pieces_) {
      const Index first = std::min(skip, piece.count);
      skip -= first;
      const Index rows = std::min(left, piece.count - first);
      if (rows > 0) part.pieces_.push_back({piece.rows, piece.first + first, rows});
      left -= rows;
    }
    return part;
  }

  /// The frames of `parts`, one after the other. Throws ArgumentError for no parts, parts of
  /// different models, or a part without tokens per frame (unless it is the only one).
  static EncodedVideo concatenate(std::span<const EncodedVideo> parts) {
    if (parts.empty()) throw ArgumentError("cannot concatenate no encoded videos");
    EncodedVideo all = parts[0];
    for (const EncodedVideo& part : parts.subspan(1)) {
      if (part.model_ != all.model_)
        throw ArgumentError("cannot concatenate videos that different models encoded");
      if (all.tokens_per_frame_ == 0 || part.tokens_per_frame_ != all.tokens_per_frame_)
        throw ArgumentError("cannot concatenate videos without tokens per frame");
      all.frames_ += part.frames_;
      all.tokens_ += part.tokens_;
      all.pieces_.insert(all.pieces_.end(), part.pieces_.begin(), part.pieces_.end());
    }
    return all;
  }

 private:
  template <class, class>
  friend class BackendModel;

  /// Rows [first, first + count) of a tensor whose type the model knows.
  struct Piece {
    std::shared_ptr<const void> rows;
    Index first, count;
    bool operator==(const Piece&) const = default;
  };

  /// Appends a row; rows that follow one another are one piece.
  void append_row(const std::shared_ptr<const void>& rows, Index row) {
    if (!pieces_.empty() && pieces_.back().rows == rows &&
        pieces_.back().first + pieces_.back().count == row)
      ++pieces_.back().count;
    else
      pieces_.push_back({rows, row, 1});
  }

  /// Where the tokens of a frame are: the tensor, and its first row.
  using FrameRows = std::pair<const void*, Index>;
  std::vector<FrameRows> frame_rows() const {
    std::vector<FrameRows> rows;
    for (const Piece& piece : pieces_)
      for (Index r = 0; r < piece.count; r += tokens_per_frame_)
        rows.emplace_back(piece.rows.get(), piece.first + r);
    return rows;
  }

  std::vector<Piece> pieces_;
  Index frames_ = 0, tokens_ = 0, tokens_per_frame_ = 0;
  std::vector<Index> places_;       // of the tokens among all, if some were left out
  Index all_tokens_per_frame_ = 0;  // before they were
  Index end_rows_ = 0;              // after the last frame; the model has them
  VideoTimings timings_;
  std::shared_ptr<const void> model_;  // identity of the model that encoded it
};

}  // namespace pllava
