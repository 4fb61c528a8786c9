// Engine on a backend: the order in which the components run.
#pragma once

#include "pllava/core/stopwatch.hpp"
#include "pllava/media/ops_preprocess.hpp"
#include "pllava/runtime/inference_context.hpp"
#include "pllava/text/ops_sample.hpp"

namespace pllava {

namespace detail {

/// A clip's frames without those that repeat their neighbour's picture, as pictures and short
/// videos do: each is encoded once.
struct DistinctFrames {
  explicit DistinctFrames(std::span<const Frame> all) {
    for (const Frame& frame : all) {
      if (frames.empty() || !same_picture(frames.back(), frame)) frames.push_back(frame);
      of.push_back(static_cast<Index>(frames.size()) - 1);
    }
  }
  /// Values of the distinct frames as those of the clip.
  std::vector<float> spread(const std::vector<float>& values) const {
    const std::size_t each = values.size() / frames.size();
    std::vector<float> all;
    all.reserve(of.size() * each);
    for (const Index i : of) {
      const auto begin = values.begin() + i * static_cast<Index>(each);
      all.insert(all.end(), begin, begin + static_cast<Index>(each));
    }
    return all;
  }

  std::vector<Frame> frames;
  std::vector<Index> of;  // frame t of the clip is frames[of[t]]
};

/// The rows of distinct frames (U·P, D) as those of the clip (T·P, D).
template <Backend B>
Tensor<B> repeated(B& be, Tensor<B> rows, const DistinctFrames& distinct) {
  const auto U = static_cast<Index>(distinct.frames.size()),
             T = static_cast<Index>(distinct.of.size());
  if (U == T) return rows;
  const Index P = rows.view().rows() / U;
  Tensor<B> all(be, {T * P, rows.view().cols()}, rows.view().dtype);
  for (Index t = 0; t < T; ++t)
    ops::copy(be, all.view().slice(t * P, P),
              rows.view().slice(distinct.of[static_cast<std::size_t>(t)] * P, P));
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

template <Backend B>
class ModelOn<B>::EngineOn final : public Engine {
 public:
  EngineOn(std::shared_ptr<const ModelOn> model, Index capacity)
      : model_(std::move(model)),
        be_(model_->backend_.fork()),
        kv_(model_->language_.make_cache(be_, capacity)),
        logits_(be_, {1, model_->config().text.vocab}, DType::f32),
        token_(be_, {1}, DType::i32) {}

  Index length() const override { return kv_.length(); }
  Index capacity() const override { return kv_.capacity(); }
  void truncate(Index length) override { kv_.truncate(be_, length); }

  VideoTimings append_video(std::span<const Frame> frames, const PreprocessConfig& pixels,
                            const RunControl& control, Trace* trace) override {
    kv_.require_room(model_->config().pool.output.count());
    VideoTimings timings;
    Tensor<B> video = encode(frames, pixels, control, timings, trace);
    Stopwatch watch;
    model_->language_.forward(be_, video, kv_, View{}, control);
    timings.prefill_ms = watch.lap();
    return timings;
  }

  void append_tokens(std::span<const std::int32_t> ids, const RunControl& control) override {
    kv_.require_room(static_cast<Index>(ids.size()));
    Tensor<B> x = model_->language_.embed(be_, ids);
    model_->language_.forward(be_, x, kv_, logits_, control);
  }

  std::int32_t sample(Sampler& sampler) override {
    return ops::sample(be_, token_.view(), logits_.view(), sampler);
  }
  void step() override { model_->language_.step(be_, token_, kv_, logits_); }
  std::vector<float> logits() override { return detail::to_floats(be_, logits_); }

 private:
  /// The rows of a video (t·h·w, D). Its pixels and features are gone when the prefill begins,
  /// which needs the most memory.
  Tensor<B> encode(std::span<const Frame> frames, const PreprocessConfig& pixels,
                   const RunControl& control, VideoTimings& timings, Trace* trace) {
    const auto T = static_cast<Index>(frames.size());
    const Index S = pixels.image_size, side = model_->config().vision.grid_side();
    Stopwatch watch;
    const detail::DistinctFrames distinct(frames);
    const auto U = static_cast<Index>(distinct.frames.size());
    Tensor<B> input(be_, {U, 3, S, S}, DType::f32);
    ops::preprocess(be_, input.view(), distinct.frames, pixels);
    control.at("preprocess", 1, 1);
    timings.preprocess_ms = watch.lap();
    const Tensor<B> features =  // (T·P, D)
        detail::repeated(be_, model_->vision_(be_, input, control), distinct);
    timings.vision_ms = watch.lap();
    Tensor<B> video = model_->project_(be_, features, model_->pool_, Grid{T, side, side});
    control.at("project", 1, 1);
    timings.project_ms = watch.lap();
    if (trace != nullptr)
      *trace = {distinct.spread(detail::to_floats(be_, input)), detail::to_floats(be_, features),
                detail::to_floats(be_, video)};
    return video;
  }

  std::shared_ptr<const ModelOn> model_;
  B be_;
  KvCache<B> kv_;
  Tensor<B> logits_;  // (1, V) f32, of the token after the last
  Tensor<B> token_;   // (1) i32, what was sampled last
};

template <Backend B>
std::unique_ptr<Engine> ModelOn<B>::make_engine(Index capacity) const {
  if (capacity < 0) throw ArgumentError("a capacity of " + std::to_string(capacity) + " rows");
  return std::make_unique<EngineOn>(this->shared_from_this(),
                                    capacity != 0 ? capacity : config().text.context);
}

}  // namespace pllava
