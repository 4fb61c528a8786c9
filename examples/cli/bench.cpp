// bench: what each part of a model takes on this machine, and how much of what the machine can do
// that is.
#include <algorithm>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "commands.hpp"
#include "device.hpp"
#include "model.hpp"
#include "output.hpp"
#include "pllava/core/stopwatch.hpp"
#include "pllava/cpu/ceiling.hpp"
#include "pllava/model_work.hpp"
#include "pllava/pllava.hpp"
#include "pllava/tensor_table.hpp"

namespace cli {
namespace {

using Json = nlohmann::ordered_json;
using pllava::DType;
using pllava::Index;
using pllava::Tensor;
using pllava::View;

/// What a part needs at least: operations, or bytes read from memory.
struct Need {
  double flops = 0, bytes = 0;
};

struct Part {
  std::string name;
  Need need;
  double tokens = 0;   ///< that it goes through
  double ms = 0;       ///< median
  double ceiling = 0;  ///< median, of operations or bytes a second
  double of_ceiling() const { return (need.bytes + need.flops) / (ms / 1e3) / ceiling; }
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
  pllava::Linear<B> w_;
  Tensor<B> x_, y_, from_, to_;
};

template <>
class Ceilings<pllava::cpu::Backend> {
 public:
  explicit Ceilings(pllava::cpu::Backend& be) : be_(be) {}
  double flops() { return pllava::cpu::peak_flops(be_); }
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
        const pllava::WeightScope& weights)
      : context_(context),
        config_(config),
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
    const Tensor<B> pixels(be_, {T, 3, S, S}, DType::f32);
    const Tensor<B> logits(be_, {1, config_.text.vocab}, DType::f32), id(be_, {1}, DType::i32);
    pllava::KvCache<B> kv = language_.make_cache(be_, std::min(V + N + 2, config_.text.context));
    const std::vector<std::int32_t> words(static_cast<std::size_t>(N), 1);
    pllava::Sampler sampler;
    const pllava::TemporalPool pool(config_.pool);

    const Need vision{.flops = pllava::vision_flops(config_.vision, T)};
    const Need projector{.flops = pllava::projector_flops(config_.projector, patches, V)};
    const Need prefill{.flops = pllava::prefill_flops(config_.text, V + N)};
    const Need question{.flops = pllava::prefill_flops(config_.text, N, V)};
    const Need step{.bytes = pllava::decode_bytes(config_.text, V + N, act)};
    const Need first{.flops = vision.flops + projector.flops + prefill.flops};

    Tensor<B> features, video;
    const auto encode = [&] { features = vision_(be_, pixels); };
    const auto project = [&] { video = project_(be_, features, pool, grid); };
    const auto read_video = [&] { language_.forward(be_, video, kv, View{}); };
    const auto ask = [&] {
      const Tensor<B> x = language_.embed(be_, words);
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
    measure("decode", step, 1, forget(V + N), [&] {
      language_.step(be_, id, kv, logits);
      pllava::ops::sample(be_, id.view(), logits.view(), sampler);
    });
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
  void measure(const std::string& name, const Need& need, double tokens,
               const std::function<void()>& prepare, const std::function<void()>& work) {
    std::vector<double> times, ceilings;
    const Index runs = context_.options.runs;
    for (Index run = 0; run <= runs; ++run) {
      context_.control().at(name, run, runs);
      prepare();
      if (run > 0) ceilings.push_back(need.bytes > 0 ? ceiling_.bytes() : ceiling_.flops());
      wait_for(be_);
      pllava::Stopwatch watch;
      work();
      wait_for(be_);
      if (run > 0) times.push_back(watch.lap());
    }
    context_.status.clear();
    parts_.push_back({name, need, tokens, median(times), median(ceilings)});
  }

  const Context& context_;
  pllava::ModelConfig config_;
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
  std::snprintf(line, sizeof line, "%-22s %12s %14s %22s %10s\n", "part", "ms", "per second",
                "ceiling", "reached");
  std::string text = line;
  for (const Part& p : parts) {
    const bool memory = p.need.bytes > 0;
    char ceiling[40];
    std::snprintf(ceiling, sizeof ceiling, memory ? "%.0f GB/s" : "%.0f GFLOP/s", p.ceiling / 1e9);
    std::snprintf(line, sizeof line, "%-22s %12.2f %14.1f %22s %9.0f%%\n", p.name.c_str(), p.ms,
                  p.tokens / (p.ms / 1e3), ceiling, 100 * p.of_ceiling());
    text += line;
  }
  return text;
}

Json to_json(const std::vector<Part>& parts) {
  Json json = Json::array();
  for (const Part& p : parts)
    json.push_back(
        {{"part", p.name},
         {"median_ms", p.ms},
         {"tokens_per_second", p.tokens / (p.ms / 1e3)},
         {p.need.bytes > 0 ? "ceiling_bytes_per_second" : "ceiling_flops_per_second", p.ceiling},
         {p.need.bytes > 0 ? "bytes" : "flops", p.need.bytes + p.need.flops},
         {"of_ceiling", p.of_ceiling()}});
  return json;
}

}  // namespace

int bench(const Context& context) {
  const Options& o = context.options;
  std::vector<Part> parts;
  DType dtype = o.dtype.value_or(DType::f32);
  const auto run = [&](pllava::ModelConfig config, const pllava::WeightScope& weights) {
    config.frames = o.frames.value_or(config.frames);
    if (o.frames) config.pool.output.t = std::min(config.pool.output.t, *o.frames);
    on_device(o, dtype, [&](auto backend) {
      parts =
          Bench(context, std::move(backend), config,
                pllava::with_progress(weights, pllava::required_tensors(config), context.control()))
              .run();
    });
  };
  if (o.model.empty()) {
    run(pllava::ModelConfig::preset(o.random_weights),
        pllava::quantized(pllava::RandomWeights::scope(o.generate.sampling.seed, dtype),
                          quantize_options(o)));
  } else {
    const auto checkpoint = pllava::Checkpoint::open(o.model, load_options(o));
    dtype = o.dtype.value_or(checkpoint.report().dtype());
    run(checkpoint.config(), checkpoint[""]);
  }
  const Json what = {{"model", o.model.empty() ? o.random_weights : o.model},
                     {"dtype", pllava::name_of(dtype)},
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
