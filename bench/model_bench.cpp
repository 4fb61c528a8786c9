// Vision encoder, prefill, decode and a whole clip at the published 7B sizes with random weights,
// in every weight format. The language model has 4 of the 32 decoder layers, which are identical.
#include <algorithm>
#include <span>

#include "ceiling.hpp"
#include "pllava/models/work.hpp"

namespace {

using namespace pllava;
using B = cpu::Backend;

constexpr Index kLayers = 4;

/// A backend, and weights in one format.
template <DType T, WeightFormat F, bool Int8Kv = false>
struct Setup {
  B be{{.dtype = T, .int8_kv = Int8Kv}};
  QuantizeOptions formats = QuantizeOptions::of(F);
  WeightScope weights = quantized(RandomWeights::scope(1, T), formats);
};

template <DType T, WeightFormat F = WeightFormat::unquantized>
void vision(benchmark::State& state) {
  Setup<T, F> c;
  const Index frames = state.range(0);
  const VisionConfig config = ModelConfig::preset("7b").vision;
  const VisionEncoder<B> encode(c.be, config, c.weights["vision_tower"]);
  Tensor<B> pixels(c.be, {frames, 3, config.image_size, config.image_size}, DType::f32);
  std::fill_n(pixels.view().template as<float>(), pixels.shape().count(), 0.1f);
  bench::measure(
      state, c.be, vision_work(config, frames, c.formats.vision), 0, [] {},
      [&] { benchmark::DoNotOptimize(encode(c.be, pixels).view().data); });
}

/// A 7B language model with kLayers layers and a small vocabulary.
template <DType T, WeightFormat F, bool Int8Kv = false>
struct SevenB : Setup<T, F, Int8Kv> {
  TextConfig config = [] {
    TextConfig c = ModelConfig::preset("7b").text;
    c.layers = kLayers;
    c.vocab = 1024;  // keeps the cost of lm_head small
    return c;
  }();
  LanguageModel<B> model{this->be, config, this->weights["language_model"]};
  Index width = config.width;
};

template <DType T, WeightFormat F = WeightFormat::unquantized>
void prefill(benchmark::State& state) {
  SevenB<T, F> m;
  const Index N = state.range(0);
  KvCache<B> kv = m.model.make_cache(m.be, N);
  Tensor<B> x(m.be, {N, m.width}, DType::f32), y(m.be, {1, m.config.vocab}, DType::f32);
  TextConfig whole = m.config;
  whole.layers = 32;
  // Tokens that 32 layers would process in the same time.
  const double tokens =
      static_cast<double>(N) * prefill_work(m.config, N).flops / prefill_work(whole, N).flops;
  bench::measure(
      state, m.be, prefill_work(m.config, N, 0, m.formats.language), tokens,
      [&] {
        std::fill_n(x.view().template as<float>(), x.shape().count(), 0.1f);
        kv.truncate(m.be, 0);
      },
      [&] { m.model.forward(m.be, x, kv, y); });
}

template <DType T, WeightFormat F = WeightFormat::unquantized, bool Int8Kv = false>
void decode(benchmark::State& state) {
  SevenB<T, F, Int8Kv> m;
  const Index N = state.range(0);
  KvCache<B> kv = m.model.make_cache(m.be, N + 1);
  Tensor<B> x(m.be, {N, m.width}, DType::f32), y(m.be, {1, m.config.vocab}, DType::f32);
  Tensor<B> id(m.be, {1}, DType::i32);
  *id.view().template as<std::int32_t>() = 1;
  std::fill_n(x.view().template as<float>(), x.shape().count(), 0.1f);
  m.model.forward(m.be, x, kv, View{});
  bench::measure(
      state, m.be, decode_work(m.config, N, T, m.formats.language, Int8Kv), 1,
      [&] { kv.truncate(m.be, N); }, [&] { m.model.step(m.be, id, kv, y); });
}

/// A pipeline of ViT-L, the projector and kLayers decoder layers, and frames that differ.
template <DType T, WeightFormat F>
struct WholeModel : Setup<T, F> {
  ModelConfig config = [] {
    ModelConfig c = ModelConfig::preset("7b");
    c.text.layers = kLayers;
    c.image_token = 259;
    c.text.vocab = 260;
    return c;
  }();
  Pipeline model{this->be.fork(), config, this->weights, Tokenizer::bytes(config.image_token), [&] {
                   PreprocessConfig pixels;
                   pixels.image_size = config.vision.image_size;
                   return pixels;
                 }()};
  std::vector<std::vector<std::uint8_t>> images;
  Clip clip;

  WholeModel() {
    for (Index t = 0; t < config.frames; ++t) {
      images.emplace_back(640 * 360 * 3, static_cast<std::uint8_t>(10 * t));
      clip.frames.push_back(Frame::borrow(images.back().data(), 640, 360));
    }
  }
  Work vision(Index frames) const {
    return vision_work(config.vision, frames, this->formats.vision) +
           projector_work(config.projector, frames * config.vision.patches(),
                          frames * config.pool.output.h * config.pool.output.w,
                          this->formats.vision);
  }
};

/// From 16 frames in memory to the first token.
template <DType T, WeightFormat F = WeightFormat::unquantized>
void clip_to_first_token(benchmark::State& state) {
  WholeModel<T, F> c;
  bench::measure(
      state, c.be,
      c.vision(c.config.frames) +
          prefill_work(c.config.text, c.config.pool.output.count(), 0, c.formats.language),
      0, [] {}, [&] { c.model.watch(c.clip).ask("What happens?", {.max_new_tokens = 1}); });
}

/// Vision of a whole clip, and of the one frame that a window takes in.
template <DType T, WeightFormat F = WeightFormat::unquantized>
void encode_clip(benchmark::State& state) {
  WholeModel<T, F> c;
  bench::measure(
      state, c.be, c.vision(c.config.frames), 0, [] {}, [&] { c.model.encode(c.clip); });
}
template <DType T, WeightFormat F = WeightFormat::unquantized>
void push_frame(benchmark::State& state) {
  WholeModel<T, F> c;
  SlidingWindow window = c.model.window();
  std::size_t pushed = 0;
  bench::measure(
      state, c.be, c.vision(1), 0, [] {}, [&] { window.push(c.clip.frames[pushed++ % 16]); });
}

/// Prefill of a session whose window has moved by one frame.
template <DType T, WeightFormat F, bool Rolling>
void slide(benchmark::State& state) {
  WholeModel<T, F> c;
  SlidingWindow window = c.model.window();
  for (const Frame& frame : c.clip.frames) window.push(frame);
  Session session = c.model.watch(window.video());
  std::size_t pushed = 0;
  const SlideOptions options{.rolling = Rolling, .refresh_every = 1000};
  const auto push = [&] { window.push(c.clip.frames[pushed++ % 16]); };
  push();
  session.slide_to(window.video(), options);  // from now on the session can roll
  const Index rows = c.config.pool.output.count(), added = Rolling ? rows / c.config.frames : rows;
  bench::measure(state, c.be, prefill_work(c.config.text, added, rows - added, c.formats.language),
                 0, push, [&] { session.slide_to(window.video(), options); });
}

void options(benchmark::internal::Benchmark* b) {
  b->UseManualTime()->Iterations(5)->Unit(benchmark::kMillisecond);
}
void frames(benchmark::internal::Benchmark* b) {
  options(b->ArgName("frames")->Arg(2));
}
void rows(benchmark::internal::Benchmark* b) {
  options(b->ArgName("rows")->Arg(2400));
  b->Iterations(3);
}
void context(benchmark::internal::Benchmark* b) {
  options(b->ArgName("context")->Arg(2400));
  b->Iterations(21);
}

BENCHMARK(vision<DType::f32>)->Apply(frames);
BENCHMARK(vision<DType::bf16>)->Apply(frames);
BENCHMARK(vision<DType::bf16, WeightFormat::int8>)->Apply(frames);
BENCHMARK(prefill<DType::bf16>)->Apply(rows);
BENCHMARK(prefill<DType::bf16, WeightFormat::int8>)->Apply(rows);
BENCHMARK(prefill<DType::bf16, WeightFormat::int4>)->Apply(rows);
BENCHMARK(decode<DType::f32>)->Apply(context);
BENCHMARK(decode<DType::bf16>)->Apply(context);
BENCHMARK(decode<DType::bf16, WeightFormat::int8>)->Apply(context);
BENCHMARK(decode<DType::bf16, WeightFormat::int4>)->Apply(context);
BENCHMARK(decode<DType::bf16, WeightFormat::int4, true>)->Apply(context);
BENCHMARK(encode_clip<DType::bf16>)->Apply(options)->Iterations(2);
BENCHMARK(push_frame<DType::bf16>)->Apply(options);
BENCHMARK(slide<DType::bf16, WeightFormat::unquantized, false>)->Apply(options)->Iterations(3);
BENCHMARK(slide<DType::bf16, WeightFormat::unquantized, true>)->Apply(options);
BENCHMARK(slide<DType::bf16, WeightFormat::int4, false>)->Apply(options)->Iterations(3);
BENCHMARK(slide<DType::bf16, WeightFormat::int4, true>)->Apply(options);
BENCHMARK(clip_to_first_token<DType::bf16>)->Apply(options)->Iterations(1);
BENCHMARK(clip_to_first_token<DType::bf16, WeightFormat::int4>)->Apply(options)->Iterations(1);

}  // namespace

BENCHMARK_MAIN();
