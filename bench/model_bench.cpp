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

/// From 16 frames in memory to the first token: ViT-L, projector, and kLayers decoder layers.
template <DType T, WeightFormat F = WeightFormat::unquantized>
void clip_to_first_token(benchmark::State& state) {
  Setup<T, F> c;
  ModelConfig config = ModelConfig::preset("7b");
  config.text.layers = kLayers;
  config.image_token = 259;
  config.text.vocab = 260;
  PreprocessConfig pixels;
  pixels.image_size = config.vision.image_size;
  const Pipeline model(c.be.fork(), config, c.weights, Tokenizer::bytes(config.image_token),
                       pixels);
  std::vector<std::vector<std::uint8_t>> images;
  Clip clip;
  for (Index t = 0; t < config.frames; ++t) {
    images.emplace_back(640 * 360 * 3, static_cast<std::uint8_t>(10 * t));
    clip.frames.push_back(Frame::borrow(images.back().data(), 640, 360));
  }
  const Index patches = config.frames * config.vision.patches(), rows = config.pool.output.count();
  bench::measure(
      state, c.be,
      vision_work(config.vision, config.frames, c.formats.vision) +
          projector_work(config.projector, patches, rows, c.formats.vision) +
          prefill_work(config.text, rows, 0, c.formats.language),
      0, [] {}, [&] { model.watch(clip).ask("What happens?", {.max_new_tokens = 1}); });
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
BENCHMARK(clip_to_first_token<DType::bf16>)->Apply(options)->Iterations(1);
BENCHMARK(clip_to_first_token<DType::bf16, WeightFormat::int4>)->Apply(options)->Iterations(1);

}  // namespace

BENCHMARK_MAIN();
