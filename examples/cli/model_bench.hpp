// Measures each part of one model on one backend.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "bench_ceilings.hpp"
#include "bench_report.hpp"
#include "context.hpp"
#include "pllava/models/work.hpp"
#include "pllava/pllava.hpp"

namespace cli {

/// Benchmarks a model on synthetic frames and a synthetic question.
template <pllava::Backend B>
class ModelBench {
 public:
  ModelBench(const Context& context, B backend, const pllava::ModelConfig& config,
             const pllava::QuantizeOptions& formats, const pllava::WeightScope& weights)
      : context_(context),
        config_(config),
        formats_(formats),
        be_(std::move(backend)),
        vision_(be_, config.vision, weights["vision_tower"]),
        projector_(be_, config.projector, weights["multi_modal_projector"]),
        language_(be_, config.text, weights["language_model"]) {
    preprocess_config_.image_size = config.vision.image_size;
    make_frames();
  }

  /// Measures the parts in order, up to --until.
  std::vector<BenchPart> run() {
    preprocess();
    measure_vision();
    measure_projector();
    measure_prefill();
    measure_decode();
    measure_second_question();
    measure_first_token();
    return std::move(parts_);
  }

 private:
  /// Decode steps per run: a single step is too short to time reliably.
  static constexpr Index kDecodeSteps = 8;
  static constexpr Index kWidth = 640, kHeight = 360;  ///< of a frame

  Index patches() const { return config_.frames * config_.vision.patches(); }
  Index video_rows() const { return config_.pool.output.count(); }
  Index text_rows() const { return context_.options.text_rows; }
  Index prompt_rows() const { return video_rows() + text_rows(); }

  /// Fills the frames with a pattern that differs between them.
  void make_frames() {
    for (Index t = 0; t < config_.frames; ++t) {
      auto& image = images_.emplace_back(static_cast<std::size_t>(kWidth * kHeight * 3));
      for (std::size_t i = 0; i < image.size(); ++i)
        image[i] = static_cast<std::uint8_t>(i * (i + static_cast<std::size_t>(t)) / 7);
      frames_.push_back(pllava::Frame::borrow(image.data(), kWidth, kHeight));
    }
  }

  // ---- steps of the model --------------------------------------------------------------------

  void preprocess() { pllava::ops::preprocess(be_, pixels_.view(), frames_, preprocess_config_); }
  void encode() { features_ = vision_(be_, pixels_); }
  void project() {
    const Index side = config_.vision.grid_side();
    video_ = projector_(be_, features_, pool_, {config_.frames, side, side});
  }
  void prefill_video() { language_.forward(be_, video_, kv_, pllava::View{}); }
  void prefill_question() {
    pllava::Tensor<B> x = language_.embed(be_, question_);
    language_.forward(be_, x, kv_, logits_);
    sample();
  }
  void decode_step() {
    language_.step(be_, id_, kv_, logits_);
    sample();
  }
  void sample() { pllava::ops::sample(be_, id_.view(), logits_.view(), sampler_); }
  void truncate_cache(Index rows) { kv_.truncate(be_, rows); }

  // ---- work of the parts ---------------------------------------------------------------------

  pllava::Work vision_work() const {
    return pllava::vision_work(config_.vision, config_.frames, formats_.vision);
  }
  pllava::Work projector_work() const {
    return pllava::projector_work(config_.projector, patches(), video_rows(), formats_.vision);
  }
  pllava::Work prefill_work() const {
    return pllava::prefill_work(config_.text, prompt_rows(), 0, formats_.language);
  }
  pllava::Work question_work() const {
    return pllava::prefill_work(config_.text, text_rows(), video_rows(), formats_.language);
  }
  /// Of the mean decode step of a run.
  pllava::Work decode_work() const {
    return pllava::decode_work(config_.text, prompt_rows() + kDecodeSteps / 2,
                               be_.activation_dtype(), formats_.language, context_.options.int8_kv);
  }

  // ---- measurements --------------------------------------------------------------------------

  void measure_vision() {
    measure(
        "vision", vision_work(), config_.frames, [] {}, [&] { encode(); });
  }

  void measure_projector() {
    measure(
        "projector", projector_work(), video_rows(), [] {}, [&] { project(); });
  }

  void measure_prefill() {
    measure(
        "prefill", prefill_work(), prompt_rows(),
        [&] {
          truncate_cache(0);
          project();  // prefill overwrites the embeddings of the video
        },
        [&] {
          prefill_video();
          prefill_question();
        });
  }

  void measure_decode() {
    measure(
        "decode", decode_work(), 1, [&] { truncate_cache(prompt_rows()); }, [&] { decode_step(); },
        kDecodeSteps);
  }

  void measure_second_question() {
    measure(
        "second question", question_work(), text_rows(), [&] { truncate_cache(video_rows()); },
        [&] { prefill_question(); });
  }

  void measure_first_token() {
    measure(
        "frames to first token", vision_work() + projector_work() + prefill_work(), prompt_rows(),
        [&] { truncate_cache(0); },
        [&] {
          preprocess();
          encode();
          project();
          prefill_video();
          prefill_question();
        });
  }

  /// Measures a part unless --until names an earlier one. One warm-up run, then --runs runs, each
  /// after a measurement of the ceilings. A run calls `call` `repeats` times; its time is the mean.
  void measure(const std::string& name, pllava::Work work, Index tokens,
               const std::function<void()>& prepare, const std::function<void()>& call,
               Index repeats = 1) {
    if (!parts_.empty() && parts_.back().name == context_.options.until) return;
    if (!Ceilings<B>::kHasIntegerCeilings)
      work.flops += std::exchange(work.int8_ops, 0) + std::exchange(work.int4_ops, 0);
    std::vector<double> ms;
    std::vector<pllava::Ceiling> ceilings;
    const Index runs = context_.options.runs;
    for (Index run = 0; run <= runs; ++run) {
      const bool warm_up = run == 0;
      context_.control().at(name, run, runs);
      prepare();
      if (!warm_up) ceilings.push_back(ceiling_of(work));
      const double elapsed = milliseconds(call, repeats);
      if (!warm_up) ms.push_back(elapsed);
    }
    context_.status.clear();
    parts_.push_back({name, work, static_cast<double>(tokens), median(ms), median(ceilings)});
  }

  /// Peak rates now, of the kinds of work that the part does.
  pllava::Ceiling ceiling_of(const pllava::Work& work) {
    return {.flops = work.flops > 0 ? ceilings_.flops() : 0,
            .int8_ops = work.int8_ops > 0 ? ceilings_.int8_ops() : 0,
            .int4_ops = work.int4_ops > 0 ? ceilings_.int4_ops() : 0,
            .bytes = work.bytes > 0 ? ceilings_.bytes() : 0};
  }

  /// The mean time of `repeats` calls.
  double milliseconds(const std::function<void()>& call, Index repeats) {
    synchronize(be_);
    pllava::Stopwatch watch;
    for (Index i = 0; i < repeats; ++i) call();
    synchronize(be_);
    return watch.lap() / static_cast<double>(repeats);
  }

  static double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
  }

  static pllava::Ceiling median(const std::vector<pllava::Ceiling>& ceilings) {
    const auto of = [&](double pllava::Ceiling::*rate) {
      std::vector<double> values;
      for (const pllava::Ceiling& c : ceilings) values.push_back(c.*rate);
      return median(values);
    };
    return {.flops = of(&pllava::Ceiling::flops),
            .int8_ops = of(&pllava::Ceiling::int8_ops),
            .int4_ops = of(&pllava::Ceiling::int4_ops),
            .bytes = of(&pllava::Ceiling::bytes)};
  }

  const Context& context_;
  pllava::ModelConfig config_;
  pllava::QuantizeOptions formats_;
  B be_;
  pllava::VisionEncoder<B> vision_;
  pllava::Projector<B> projector_;
  pllava::LanguageModel<B> language_;
  Ceilings<B> ceilings_{be_};

  // Inputs: frames, and a question of equal tokens.
  pllava::PreprocessConfig preprocess_config_;
  std::vector<std::vector<std::uint8_t>> images_;
  std::vector<pllava::Frame> frames_;
  std::vector<std::int32_t> question_ =
      std::vector<std::int32_t>(static_cast<std::size_t>(text_rows()), 1);

  // State between the steps of the model.
  pllava::Tensor<B> pixels_{
      be_,
      {config_.frames, 3, config_.vision.image_size, config_.vision.image_size},
      pllava::DType::f32};
  pllava::TemporalPool pool_{config_.pool};
  pllava::Tensor<B> features_, video_;
  pllava::KvCache<B> kv_ =
      language_.make_cache(be_, std::min(prompt_rows() + kDecodeSteps, config_.text.context));
  pllava::Tensor<B> logits_{be_, {1, config_.text.vocab}, pllava::DType::f32};
  pllava::Tensor<B> id_{be_, {1}, pllava::DType::i32};
  pllava::Sampler sampler_;

  std::vector<BenchPart> parts_;
};

}  // namespace cli
