// Runs the components of a model in order: frames to visual tokens, tokens to logits.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "pllava/core/stopwatch.hpp"
#include "pllava/media/distinct_frames.hpp"
#include "pllava/media/ops_preprocess.hpp"
#include "pllava/models/kv_cache.hpp"
#include "pllava/runtime/detail/repeated_tokens.hpp"
#include "pllava/runtime/inference_context.hpp"
#include "pllava/text/ops_sample.hpp"

namespace pllava {

namespace detail {

/// The rows of distinct frames (U·P, D) as those of the clip (T·P, D).
template <Backend B>
Tensor<B> repeat_rows(B& be, Tensor<B> rows, const DistinctFrames& distinct) {
  const auto U = static_cast<Index>(distinct.frames.size()),
             T = static_cast<Index>(distinct.index.size());
  if (U == T) return rows;
  const Index P = rows.view().rows() / U;
  Tensor<B> all(be, {T * P, rows.view().cols()}, rows.view().dtype);
  for (Index t = 0; t < T; ++t) {
    const auto u = static_cast<Index>(distinct.index[static_cast<std::size_t>(t)]);
    ops::copy(be, all.view().slice(t * P, P), rows.view().slice(u * P, P));
  }
  return all;
}

/// Values of the distinct frames as those of the clip.
inline std::vector<float> repeat_values(const std::vector<float>& values,
                                        const DistinctFrames& distinct) {
  const std::size_t each = values.size() / distinct.frames.size();
  std::vector<float> all;
  all.reserve(distinct.index.size() * each);
  for (const std::size_t u : distinct.index) {
    const auto begin = values.begin() + static_cast<std::ptrdiff_t>(u * each);
    all.insert(all.end(), begin, begin + static_cast<std::ptrdiff_t>(each));
  }
  return all;
}

/// A tensor's contents as floats.
template <Backend B>
std::vector<float> to_floats(B& be, ConstView v) {
  std::vector<std::byte> raw(static_cast<std::size_t>(v.bytes()));
  be.download(raw.data(), v);
  std::vector<float> values(static_cast<std::size_t>(v.shape.count()));
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = load_float(raw.data(), v.dtype, static_cast<Index>(i));
  return values;
}

}  // namespace detail

/// Encodes frames on its own fork of the backend.
template <class B, class C>
class BackendModel<B, C>::Encoder final : public FrameEncoder {
 public:
  explicit Encoder(std::shared_ptr<const BackendModel> model)
      : model_(std::move(model)), be_(model_->backend_.fork()) {}

  B& backend() noexcept { return be_; }

  EncodedVideo encode_clip(std::span<const Frame> frames, const PreprocessConfig& config,
                           const RunControl& control, Trace* trace) override {
    EncodedVideo video = encode(frames, model_->parts_.pool, config, control, trace);
    if (keeps_frames()) video.tokens_per_frame_ = video.tokens_ / video.frames_;
    return video;
  }

  EncodedVideo encode_frames(std::span<const Frame> frames, const PreprocessConfig& config,
                             const RunControl& control) override {
    if constexpr (requires { model_->parts_.pool.per_frame(); }) {
      if (!pools_each_frame())
        throw ArgumentError("the model pools over time: its frames cannot be encoded one by one");
      EncodedVideo video =
          encode(frames, model_->parts_.pool.per_frame(), config, control, nullptr);
      video.tokens_per_frame_ = video.tokens_ / video.frames_;
      return video;
    } else {
      throw ArgumentError("the pooling has no per_frame(): frames cannot be encoded one by one");
    }
  }

  EncodedVideo without_repeats(const EncodedVideo& video, double share) override {
    if (!(share > 0 && share <= 1))
      throw ArgumentError("the share of tokens that stay is " + std::to_string(share) +
                          "; expected more than 0 and at most 1");
    if (share == 1) return video;
    if (video.model_ != model_->identity_)
      throw ArgumentError("the video was encoded by another model");
    if (video.tokens_per_frame_ == 0)
      throw ArgumentError("a video without tokens per frame has no places to compare over time");
    std::vector<float> rows;  // (tokens, D)
    Index width = 0;
    for (const EncodedVideo::Piece& piece : video.pieces_) {
      const ConstView all = static_cast<const Tensor<B>*>(piece.rows.get())->view();
      const std::vector<float> part = detail::to_floats(be_, all.slice(piece.first, piece.count));
      rows.insert(rows.end(), part.begin(), part.end());
      width = all.cols();
    }
    EncodedVideo result = video;
    result.places_ =
        detail::most_changed_tokens(rows, video.frames_, video.tokens_per_frame_, width,
                                    static_cast<Index>(share * static_cast<double>(video.tokens_)));
    result.all_tokens_per_frame_ = std::exchange(result.tokens_per_frame_, 0);
    result.tokens_ = static_cast<Index>(result.places_.size());
    result.pieces_.clear();
    auto place = result.places_.begin();
    Index before = 0;  // tokens of the pieces before
    for (const EncodedVideo::Piece& piece : video.pieces_) {
      for (; place != result.places_.end() && *place < before + piece.count; ++place)
        result.append_row(piece.rows, piece.first + *place - before);
      before += piece.count;
    }
    return result;
  }

 private:
  /// Whether the pooling of a clip of the model's length keeps its frames.
  bool pools_each_frame() const {
    const ModelConfig& config = model_->config();
    return config.pool.output.t == config.frames;
  }
  bool keeps_frames() const {
    if constexpr (requires { model_->parts_.pool.per_frame(); })
      return pools_each_frame();
    else
      return false;
  }

  /// Pixels and features are freed on return: the prefill needs the most memory.
  template <class Pool>
  EncodedVideo encode(std::span<const Frame> frames, const Pool& pool,
                      const PreprocessConfig& config, const RunControl& control, Trace* trace) {
    if (frames.empty()) throw MediaError("", "a clip without frames");
    const auto T = static_cast<Index>(frames.size());
    const Index S = config.image_size;
    EncodedVideo video;
    Stopwatch watch;
    const DistinctFrames distinct(frames);
    const auto U = static_cast<Index>(distinct.frames.size());
    Tensor<B> pixels(be_, {U, 3, S, S}, DType::f32);
    ops::preprocess(be_, pixels.view(), distinct.frames, config);
    control.at("preprocess", 1, 1);
    video.timings_.preprocess_ms = watch.lap();
    const Tensor<B> features =  // (T·P, D)
        detail::repeat_rows(be_, model_->parts_.vision(be_, std::as_const(pixels), control),
                            distinct);
    video.timings_.vision_ms = watch.lap();
    auto rows = std::make_shared<Tensor<B>>(
        model_->parts_.project(be_, features, pool, model_->patch_grid(T)));
    control.at("project", 1, 1);
    // Contexts on other streams of the device may read the rows from now on.
    if constexpr (requires { be_.synchronize(); }) be_.synchronize();
    video.timings_.project_ms = watch.lap();
    if (trace != nullptr)
      *trace = {detail::repeat_values(detail::to_floats(be_, pixels), distinct),
                detail::to_floats(be_, features), detail::to_floats(be_, *rows)};
    video.frames_ = T;
    video.tokens_ = rows->view().rows();
    video.end_rows_ = model_->end_rows();
    video.model_ = model_->identity_;
    video.pieces_.push_back({std::move(rows), 0, video.tokens_});
    return video;
  }

  std::shared_ptr<const BackendModel> model_;
  B be_;
};

template <class B, class C>
class BackendModel<B, C>::Context final : public InferenceContext {
 public:
  Context(std::shared_ptr<const BackendModel> model, Index capacity)
      : model_(std::move(model)),
        encoder_(model_),
        be_(encoder_.backend()),
        kv_(model_->parts_.language.make_cache(be_, capacity)),
        logits_(be_, {1, model_->config().text.vocab}, DType::f32),
        token_(be_, {1}, DType::i32) {}

  Index length() const override { return kv_.length(); }
  Index capacity() const override { return kv_.capacity(); }
  void truncate(Index length) override {
    kv_.truncate(be_, length);
    if (prefix_ && length < prefix_->rows) prefix_.reset();
  }
  bool accepts(const EncodedVideo& video) const override {
    return video.model_ == model_->identity_;
  }

  EncodedVideo encode_clip(std::span<const Frame> frames, const PreprocessConfig& config,
                           const RunControl& control, Trace* trace) override {
    return encoder_.encode_clip(frames, config, control, trace);
  }
  EncodedVideo encode_frames(std::span<const Frame> frames, const PreprocessConfig& config,
                             const RunControl& control) override {
    return encoder_.encode_frames(frames, config, control);
  }

  EncodedVideo without_repeats(const EncodedVideo& video, double share) override {
    return encoder_.without_repeats(video, share);
  }

  void append_video(const EncodedVideo& video, const RunControl& control) override {
    if (!accepts(video)) throw ArgumentError("the video was encoded by another model");
    kv_.require_room(video.tokens());
    Tensor<B> x;  // (tokens, D): a copy, since the prefill overwrites its input
    Index row = 0;
    for (const EncodedVideo::Piece& piece : video.pieces_) {
      const ConstView rows = static_cast<const Tensor<B>*>(piece.rows.get())->view();
      if (row == 0) x = Tensor<B>(be_, {video.tokens(), rows.cols()}, DType::f32);
      ops::copy(be_, x.view().slice(row, piece.count), rows.slice(piece.first, piece.count));
      row += piece.count;
    }
    if constexpr (requires { model_->parts_.project.end_rows(); })
      model_->parts_.project.write_end_rows(be_, x.view().slice(row, video.end_rows_));
    const auto& language = model_->parts_.language;
    if (video.places_.empty()) return language.forward(be_, x, kv_, View{}, control);
    if constexpr (requires { language.forward_at(be_, x, video.places_, Index{}, kv_, control); }) {
      std::vector<Index> places = video.places_;
      for (Index r = video.places() - video.end_rows_; r < video.places(); ++r) places.push_back(r);
      language.forward_at(be_, x, places, video.places(), kv_, control);
    } else {
      throw ArgumentError("the language model has no forward_at(): no tokens can be left out");
    }
  }

  void append_tokens(std::span<const std::int32_t> ids, const RunControl& control) override {
    kv_.require_room(static_cast<Index>(ids.size()));
    Tensor<B> x = model_->parts_.language.embed(be_, ids);
    model_->parts_.language.forward(be_, x, kv_, logits_, control);
  }

  void append_prefix(std::span<const std::int32_t> ids, const RunControl& control) override {
    if constexpr (kRolls) {
      PrefixRows<B> prefix;
      if (!ids.empty()) {
        kv_.require_room(static_cast<Index>(ids.size()));
        Tensor<B> x = model_->parts_.language.embed(be_, ids);
        model_->parts_.language.forward(be_, x, kv_, View{}, control, &prefix);
      }
      prefix_ = std::move(prefix);
    } else if (!ids.empty()) {
      append_tokens(ids, control);
    }
  }

  bool remove_after_prefix(Index count) override {
    if constexpr (kRolls) {
      const auto& language = model_->parts_.language;
      if (!prefix_ || !language.can_remove_rows(kv_, count)) return false;
      language.remove_rows(be_, kv_, *prefix_, count);
      return true;
    } else {
      return false;
    }
  }

  std::int32_t sample(Sampler& sampler) override {
    return ops::sample(be_, token_.view(), logits_.view(), sampler);
  }
  void step() override { model_->parts_.language.step(be_, token_, kv_, logits_); }
  std::vector<float> logits() override { return detail::to_floats(be_, logits_); }

 private:
  using Cache = decltype(std::declval<const C&>().language.make_cache(std::declval<B&>(), Index{}));

  /// Whether the language model can remove rows; a user's own one need not.
  static constexpr bool kRolls =
      requires(const C& parts, B& be, Cache& kv, const PrefixRows<B>& prefix, Index count) {
    parts.language.remove_rows(be, kv, prefix, count);
  };

  std::shared_ptr<const BackendModel> model_;
  Encoder encoder_;
  B& be_;  // the encoder's
  Cache kv_;
  Tensor<B> logits_;                     // (1, V) f32, of the next token
  Tensor<B> token_;                      // (1) i32, the token that was sampled last
  std::optional<PrefixRows<B>> prefix_;  // that the context began with
};

template <class B, class C>
Index BackendModel<B, C>::video_tokens([[maybe_unused]] Index frames) const {
  if constexpr (requires { parts_.pool.output_tokens(Grid{}); })
    return parts_.pool.output_tokens(patch_grid(frames)) + end_rows();
  else
    return 0;
}

template <class B, class C>
std::unique_ptr<InferenceContext> BackendModel<B, C>::make_context(Index capacity) const {
  if (capacity < 0) throw ArgumentError("a capacity of " + std::to_string(capacity) + " rows");
  return std::make_unique<Context>(this->shared_from_this(),
                                   capacity != 0 ? capacity : config().text.context);
}

template <class B, class C>
std::unique_ptr<FrameEncoder> BackendModel<B, C>::make_encoder() const {
  return std::make_unique<Encoder>(this->shared_from_this());
}

}  // namespace pllava
