// A model behind an interface without the types of its backend and components. Session and Pipeline
// use it; no other file erases these types.
#pragma once

#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "pllava/core/backend.hpp"
#include "pllava/core/control.hpp"
#include "pllava/media/preprocess.hpp"
#include "pllava/models/model_config.hpp"
#include "pllava/runtime/encoded_video.hpp"
#include "pllava/text/sampling.hpp"

namespace pllava {

/// Encodes frames to visual tokens. Belongs to one thread at a time.
class FrameEncoder {
 public:
  FrameEncoder() = default;
  FrameEncoder(const FrameEncoder&) = delete;
  FrameEncoder& operator=(const FrameEncoder&) = delete;
  virtual ~FrameEncoder() = default;

  /// Encodes a clip as the model pools it. Frames that repeat the pixels of the one before are
  /// encoded once. `trace` may be null. Throws MediaError, CancelledError.
  virtual EncodedVideo encode_clip(std::span<const Frame> frames, const PreprocessConfig& config,
                                   const RunControl& control, Trace* trace) = 0;
  /// Encodes each frame by itself. For a model that keeps its frames when it pools (16 frames to
  /// (16, 12, 12)), the tokens of a clip are those of its frames, to the bit. Throws as
  /// encode_clip; ArgumentError for a model that pools over time.
  virtual EncodedVideo encode_frames(std::span<const Frame> frames, const PreprocessConfig& config,
                                     const RunControl& control) = 0;
  /// The video without tokens that repeat over time: at most `share` of them stay, but all of the
  /// first frame. A token stays if it differs enough from the last that stays at its place in the
  /// picture (1 - cosine; the threshold is the lowest that leaves so few). The tokens that stay
  /// keep their RoPE positions. Training-free, as in EVS (Nemotron Nano V2 VL) and TimeChat-Online
  /// (arXiv 2504.17343). Throws ArgumentError for a share outside of (0, 1], and for a share below
  /// 1 of a video without tokens per frame.
  virtual EncodedVideo without_repeats(const EncodedVideo& video, double share) = 0;
};

/// One sequence on a backend: its KV cache and the logits of its next token. A call that throws
/// changes nothing. Belongs to one thread at a time.
class InferenceContext : public FrameEncoder {
 public:
  virtual Index length() const = 0;
  virtual Index capacity() const = 0;
  /// Drops everything after the first `length` rows.
  virtual void truncate(Index length) = 0;
  /// Whether the model of this context encoded the video.
  virtual bool accepts(const EncodedVideo& video) const = 0;
  /// Appends the rows of an encoded video. Throws ContextError, CancelledError; ArgumentError for a
  /// video that another model encoded.
  virtual void append_video(const EncodedVideo& video, const RunControl& control) = 0;
  /// Appends token ids, at least one, and computes the logits of the next token.
  virtual void append_tokens(std::span<const std::int32_t> ids, const RunControl& control) = 0;
  /// The same for an empty context, without logits: the ids before a video. Keeps what
  /// remove_after_prefix() needs.
  virtual void append_prefix(std::span<const std::int32_t> ids, const RunControl& control) = 0;
  /// Removes the `count` rows after the prefix; the rows after them stay as they are, although they
  /// have attended to the removed ones. Returns false, and does nothing, if the backend, the
  /// language model or the positions that are left do not allow it, or if the context did not begin
  /// with append_prefix(). The next call must append tokens.
  virtual bool remove_after_prefix(Index count) = 0;
  /// Chooses the next token from the logits of the last append or step; it is not appended.
  virtual std::int32_t sample(Sampler& sampler) = 0;
  /// Appends the token that `sample` chose, and computes the logits of the next.
  virtual void step() = 0;
  /// A copy of the logits (V).
  virtual std::vector<float> logits() = 0;
};

/// Loaded weights that contexts run on. Const and safe to share between threads.
class Model {
 public:
  explicit Model(ModelConfig config) : config_(std::move(config)) {}
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;
  virtual ~Model() = default;

  const ModelConfig& config() const noexcept { return config_; }
  /// Visual tokens of a clip of `frames` frames; 0 if only encoding determines the number.
  virtual Index video_tokens(Index frames) const = 0;
  /// A context of `capacity` rows; 0 reserves the model's whole context. Throws ContextError (above
  /// the model's context), ArgumentError (negative), OutOfMemoryError.
  virtual std::unique_ptr<InferenceContext> make_context(Index capacity) const = 0;
  /// An encoder without a KV cache.
  virtual std::unique_ptr<FrameEncoder> make_encoder() const = 0;

 private:
  ModelConfig config_;
};

/// The model of components `C` (see Components) on backend B.
template <class B, class C>
class BackendModel final : public Model, public std::enable_shared_from_this<BackendModel<B, C>> {
 public:
  BackendModel(B backend, ModelConfig config, C components)
      : Model(std::move(config)), backend_(std::move(backend)), parts_(std::move(components)) {}

  Index video_tokens(Index frames) const override;
  std::unique_ptr<InferenceContext> make_context(Index capacity) const override;
  std::unique_ptr<FrameEncoder> make_encoder() const override;

 private:
  class Encoder;
  class Context;

  Grid patch_grid(Index frames) const {
    const Index side = config().vision.grid_side();
    return {frames, side, side};
  }

  /// Rows after the last frame of a video.
  Index end_rows() const {
    if constexpr (requires { parts_.project.end_rows(); })
      return parts_.project.end_rows();
    else
      return 0;
  }

  B backend_;
  C parts_;
  std::shared_ptr<const void> identity_ = std::make_shared<int>();
};

}  // namespace pllava

#include "pllava/runtime/detail/inference_context_inl.hpp"
