// bench: what each part of a model takes on this machine, and how much of what the machine can do
// that is.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "commands.hpp"
#include "device.hpp"
#include "model.hpp"
#include "output.hpp"
#include "pllava/core/stopwatch.hpp"
#include "pllava/cpu/ceiling.hpp"
#include "pllava/models/architecture.hpp"
#include "pllava/models/work.hpp"
#include "pllava/pllava.hpp"

namespace cli {
namespace {

using Json = nlohmann::ordered_json;
using pllava::Ceiling;
using pllava::DType;
using pllava::Index;
using pllava::Tensor;
using pllava::View;
using pllava::Work;

struct Part {
  std::string name;
  Work work;
  double tokens = 0;  ///< that it goes through
  double ms = 0;      ///< median
  Ceiling ceiling;    ///< medians
  double of_ceiling() const { return floor_seconds(work, ceiling) / (ms / 1e3); }
};

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

// ---- ceilings -----------------------------------------------------------------------------------

template <class B>
void wait_for(B& be) {
  if constexpr (requires { be.synchronize(); }) be.synchronize();
}

/// Operations a second of a product of large square matrices, and bytes a second of copies within
/// the backend's memory.
template <pllava::Backend B>
class Ceilings {
 public:
  explicit Ceilings(B& be)
      : be_(be),
        x_(be, {kSide, kSide}, be.activation_dtype()),
        y_(be, {kSide, kSide}, be.activation_dtype()),
        from_(be, {kSide, 4 * kSide}, DType::f32),
        to_(be, {kSide, 4 * kSide}, DType::f32) {
    // No zeros: arithmetic on them takes less power, hence less time.
    const pllava::HostTensor numbers =
        pllava::RandomWeights(1, be.activation_dtype()).tensor("ceiling.weight", {kSide, kSide});
    w_ = {be.prepare({&numbers, 1}, pllava::WeightRole::linear), {}, kSide, kSide};
    be.upload(x_, numbers.data);
    flops();  // warm up
    bytes();
  }

  static constexpr bool kIntegers = false;  // matrices of integers are multiplied as floats
  double integers() const { return 0; }
  double nibbles() const { return 0; }
  double flops() {
    return kRepeats * 2.0 * kSide * kSide * kSide /
           seconds([&] { pllava::ops::linear(be_, y_.view(), x_.view(), w_); });
  }
  /// Read and written.
  double bytes() {
    return kRepeats * 2.0 * static_cast<double>(from_.view().bytes()) /
           seconds([&] { pllava::ops::copy(be_, to_.view(), from_.view()); });
  }

 private:
  static constexpr Index kSide = 8192;
  static constexpr int kRepeats = 10;

  template <class Work>
  double seconds(const Work& work) {
    wait_for(be_);
    pllava::Stopwatch watch;
    for (int i = 0; i < kRepeats; ++i) work();
    wait_for(be_);
    return watch.lap() / 1e3;
  }

  B& be_;
  pllava::Linear<typename B::Weight> w_;
  Tensor<B> x_, y_, from_, to_;
};

template <>
class Ceilings<pllava::cpu::Backend> {
 public:
  explicit Ceilings(pllava::cpu::Backend& be) : be_(be) {}
  static constexpr bool kIntegers = true;
  double flops() { return pllava::cpu::peak_flops(be_); }
  double integers() { return pllava::cpu::peak_int8_ops(be_); }
  double nibbles() { return pllava::cpu::peak_int4_ops(be_); }
  double bytes() { return pllava::cpu::read_bandwidth(be_); }

 private:
  pllava::cpu::Backend& be_;
};

// ---- parts --------------------------------------------------------------------------------------

/// Runs the parts of one model on one backend.
template <pllava::Backend B>
class Bench {
 public:
  Bench(const Context& context, B backend, const pllava::ModelConfig& config,
        const pllava::QuantizeOptions& formats, const pllava::WeightScope& weights)
      : context_(context),
        config_(config),
        formats_(formats),
        be_(std::move(backend)),
        vision_(be_, config.vision, weights["vision_tower"]),
        project_(be_, config.projector, weights["multi_modal_projector"]),
        language_(be_, config.text, weights["language_model"]) {
    pixels_.image_size = config.vision.image_size;
    for (Index t = 0; t < config.frames; ++t) {
      pictures_.emplace_back(640 * 360 * 3);
      for (std::size_t i = 0; i < pictures_.back().size(); ++i)
        pictures_.back()[i] = static_cast<std::uint8_t>(i * (i + static_cast<std::size_t>(t)) / 7);
      frames_.push_back(pllava::Frame::borrow(pictures_.back().data(), 640, 360));
    }
  }

  std::vector<Part> run() {
    const auto& [T, S] = std::pair(config_.frames, config_.vision.image_size);
    const Index side = config_.vision.grid_side(), V = config_.pool.output.count();
    const Index N = context_.options.text_rows, patches = T * config_.vision.patches();
    const pllava::Grid grid{T, side, side};
    const DType act = be_.activation_dtype();
    Tensor<B> pixels(be_, {T, 3, S, S}, DType::f32);
    Tensor<B> logits(be_, {1, config_.text.vocab}, DType::f32), id(be_, {1}, DType::i32);
    pllava::KvCache<B> kv =
        language_.make_cache(be_, std::min(V + N + kSteps, config_.text.context));
    const std::vector<std::int32_t> words(static_cast<std::size_t>(N), 1);
    pllava::Sampler sampler;
    const pllava::TemporalPool pool(config_.pool);

    const auto& [of_vision, of_language] = formats_;
    const Work vision = pllava::vision_work(config_.vision, T, of_vision);
    const Work projector = pllava::projector_work(config_.projector, patches, V, of_vision);
    const Work prefill = pllava::prefill_work(config_.text, V + N, 0, of_language);
    const Work question = pllava::prefill_work(config_.text, N, V, of_language);
    const Work step = pllava::decode_work(config_.text, V + N + kSteps / 2, act, of_language,
                                          context_.options.int8_kv);
    const Work first = vision + projector + prefill;

    Tensor<B> features, video;
    const auto encode = [&] { features = vision_(be_, pixels); };
    const auto project = [&] { video = project_(be_, features, pool, grid); };
    const auto read_video = [&] { language_.forward(be_, video, kv, View{}); };
    const auto ask = [&] {
      Tensor<B> x = language_.embed(be_, words);
      language_.forward(be_, x, kv, logits);
      pllava::ops::sample(be_, id.view(), logits.view(), sampler);
    };
    const auto nothing = [] {};
    const auto forget = [&](Index rows) { return [&, rows] { kv.truncate(be_, rows); }; };

    pllava::ops::preprocess(be_, pixels.view(), frames_, pixels_);
    measure("vision", vision, static_cast<double>(T), nothing, encode);
    measure("projector", projector, static_cast<double>(V), nothing, project);
    measure(
        "prefill", prefill, static_cast<double>(V + N),
        [&] {
          kv.truncate(be_, 0);
          project();  // prefill overwrites its rows
        },
        [&] {
          read_video();
          ask();
        });
    const auto step_once = [&] {
      language_.step(be_, id, kv, logits);
      pllava::ops::sample(be_, id.view(), logits.view(), sampler);
    };
    measure("decode", step, 1, forget(V + N), step_once, kSteps);
    measure("second question", question, static_cast<double>(N), forget(V), ask);
    measure("frames to first token", first, static_cast<double>(V + N), forget(0), [&] {
      pllava::ops::preprocess(be_, pixels.view(), frames_, pixels_);
      encode();
      project();
      read_video();
      ask();
    });
    return std::move(parts_);
  }

 private:
  static constexpr Index kSteps = 8;  ///< of decoding in a run: one alone is left to chance

  /// A run is what is done `times` times between two looks at the clock.
  void measure(const std::string& name, Work work, double tokens,
               const std::function<void()>& prepare, const std::function<void()>& run_once,
               Index times = 1) {
    if (!parts_.empty() && parts_.back().name == context_.options.until) return;
    if (!Ceilings<B>::kIntegers)
      work.flops += std::exchange(work.integers, 0) + std::exchange(work.nibbles, 0);
    std::vector<double> ms, flops, integers, nibbles, bytes;
    const Index runs = context_.options.runs;
    for (Index run = 0; run <= runs; ++run) {
      context_.control().at(name, run, runs);
      prepare();
      if (run > 0) {
        flops.push_back(work.flops > 0 ? ceiling_.flops() : 0);
        integers.push_back(work.integers > 0 ? ceiling_.integers() : 0);
        nibbles.push_back(work.nibbles > 0 ? ceiling_.nibbles() : 0);
        bytes.push_back(work.bytes > 0 ? ceiling_.bytes() : 0);
      }
      wait_for(be_);
      pllava::Stopwatch watch;
      for (Index i = 0; i < times; ++i) run_once();
      wait_for(be_);
      if (run > 0) ms.push_back(watch.lap() / static_cast<double>(times));
    }
    context_.status.clear();
    const Ceiling ceiling{median(flops), median(integers), median(nibbles), median(bytes)};
    parts_.push_back({name, work, tokens, median(ms), ceiling});
  }

  const Context& context_;
  pllava::ModelConfig config_;
  pllava::QuantizeOptions formats_;
  B be_;
  pllava::VisionEncoder<B> vision_;
  pllava::Projector<B> project_;
  pllava::LanguageModel<B> language_;
  Ceilings<B> ceiling_{be_};
  pllava::PreprocessConfig pixels_;
  std::vector<std::vector<std::uint8_t>> pictures_;
  std::vector<pllava::Frame> frames_;
  std::vector<Part> parts_;
};

std::string table(const std::vector<Part>& parts) {
  char line[160];
  std::snprintf(line, sizeof line, "%-22s %12s %14s %10s  %s\n", "part", "ms", "per second",
                "reached", "of");
  std::string text = line;
  for (const Part& p : parts) {
    std::string ceiling;
    const auto add = [&](double value, const char* unit) {
      if (value == 0) return;
      ceiling += (ceiling.empty() ? "" : ", ") + std::to_string(std::lround(value / 1e9)) + unit;
    };
    add(p.ceiling.flops, " GFLOP/s");
    add(p.ceiling.integers, " GOP/s int8");
    add(p.ceiling.nibbles, " GOP/s int4");
    add(p.ceiling.bytes, " GB/s");
    std::snprintf(line, sizeof line, "%-22s %12.2f %14.1f %9.0f%%  %s\n", p.name.c_str(), p.ms,
                  p.tokens / (p.ms / 1e3), 100 * p.of_ceiling(), ceiling.c_str());
    text += line;
  }
  return text;
}

Json to_json(const Work& w) {
  return {{"flops", w.flops},
          {"int8_operations", w.integers},
          {"int4_operations", w.nibbles},
          {"bytes", w.bytes}};
}

Json to_json(const std::vector<Part>& parts) {
  Json json = Json::array();
  for (const Part& p : parts)
    json.push_back({{"part", p.name},
                    {"median_ms", p.ms},
                    {"tokens_per_second", p.tokens / (p.ms / 1e3)},
                    {"work", to_json(p.work)},
                    {"ceiling_per_second", to_json(p.ceiling)},
                    {"of_ceiling", p.of_ceiling()}});
  return json;
}

}  // namespace

int bench(const Context& context) {
  const Options& o = context.options;
  std::vector<Part> parts;
  DType dtype = o.dtype.value_or(DType::f32);
  pllava::QuantizeOptions formats = quantize_options(o);
  const auto run = [&](pllava::ModelConfig config, const pllava::WeightScope& weights,
                       const std::shared_ptr<pllava::cpu::PackedWeights>& packed) {
    config.frames = o.frames.value_or(config.frames);
    if (o.frames) config.pool.output.t = std::min(config.pool.output.t, *o.frames);
    const auto measure = [&](auto backend) {
      Bench model(context, std::move(backend), config, formats,
                  pllava::with_progress(weights, pllava::model_tensors(config).required(),
                                        context.control()));
      if (packed != nullptr) packed->commit();
      parts = model.run();
    };
    on_device(o, dtype, measure, packed);
  };
  if (o.model.empty()) {
    run(pllava::ModelConfig::preset(o.random_weights),
        pllava::quantized(pllava::RandomWeights::scope(o.generate.sampling.seed, dtype), formats),
        nullptr);
  } else {
    const auto checkpoint = pllava::Checkpoint::open(o.model, load_options(o));
    dtype = o.dtype.value_or(checkpoint.report().dtype());
    if (checkpoint.stored_formats().any()) formats = checkpoint.stored_formats();
    run(checkpoint.config(), checkpoint[""],
        pllava::packed_weights(checkpoint, load_options(o), dtype));
  }
  const Json what = {{"model", o.model.empty() ? o.random_weights : o.model},
                     {"dtype", pllava::name_of(dtype)},
                     {"vision_weights", pllava::name_of(formats.vision.format)},
                     {"lm_weights", pllava::name_of(formats.language.format)},
                     {"int8_kv", o.int8_kv},
                     {"device", o.gpu ? "cuda:" + std::to_string(*o.gpu) : "cpu"}};
  if (o.json) {
    Json json = what;
    json["parts"] = to_json(parts);
    write_output(json.dump() + '\n');
  } else {
    write_output(table(parts));
  }
  return kSuccess;
}

}  // namespace cli
