// Vision, prefill, decode and a whole clip at the published 7B sizes with random weights. Four of
// the 32 decoder layers stand for all: they are alike.
#include <algorithm>
#include <span>

#include "ceiling.hpp"
#include "pllava/model_work.hpp"

namespace {

using namespace pllava;
using B = cpu::Backend;

constexpr Index kLayers = 4;

template <DType T>
void vision(benchmark::State& state) {
  B be({.dtype = T});
  const Index frames = state.range(0);
  const VisionConfig c = ModelConfig::preset("7b").vision;
  const VisionEncoder<B> encode(be, c, RandomWeights::scope(1, T)["vision_tower"]);
  Tensor<B> pixels(be, {frames, 3, c.image_size, c.image_size}, DType::f32);
  std::fill_n(pixels.view().as<float>(), pixels.shape().count(), 0.1f);
  bench::measure(
      state, be, {.flops = vision_flops(c, frames)}, [] {},
      [&] { benchmark::DoNotOptimize(encode(be, pixels).view().data); });
}

/// A 7B language model of kLayers layers and a small head.
template <DType T>
struct SevenB {
  TextConfig config = [] {
    TextConfig c = ModelConfig::preset("7b").text;
    c.layers = kLayers;
    c.vocab = 1024;  // the head is one row and no part of a layer
    return c;
  }();
  B be{{.dtype = T}};
  LanguageModel<B> model{be, config, RandomWeights::scope(1, T)["language_model"]};
  Index width = config.width;
};

template <DType T>
void prefill(benchmark::State& state) {
  SevenB<T> m;
  const Index N = state.range(0);
  KvCache<B> kv = m.model.make_cache(m.be, N);
  Tensor<B> x(m.be, {N, m.width}, DType::f32), y(m.be, {1, m.config.vocab}, DType::f32);
  TextConfig whole = m.config;
  whole.layers = 32;
  const double flops = prefill_flops(m.config, N);
  const double tokens = static_cast<double>(N) * flops / prefill_flops(whole, N);  // of 32 layers
  bench::measure(
      state, m.be, {.flops = flops, .tokens = tokens},
      [&] {
        std::fill_n(x.view().template as<float>(), x.shape().count(), 0.1f);
        kv.truncate(m.be, 0);
      },
      [&] { m.model.forward(m.be, x, kv, y); });
}

template <DType T>
void decode(benchmark::State& state) {
  SevenB<T> m;
  const Index N = state.range(0);
  KvCache<B> kv = m.model.make_cache(m.be, N + 1);
  Tensor<B> x(m.be, {N, m.width}, DType::f32), y(m.be, {1, m.config.vocab}, DType::f32);
  Tensor<B> id(m.be, {1}, DType::i32);
  *id.view().template as<std::int32_t>() = 1;
  std::fill_n(x.view().template as<float>(), x.shape().count(), 0.1f);
  m.model.forward(m.be, x, kv, View{});
  bench::measure(
      state, m.be, {.bytes = decode_bytes(m.config, N, T), .tokens = 1},
      [&] { kv.truncate(m.be, N); }, [&] { m.model.step(m.be, id, kv, y); });
}

/// From 16 frames in memory to the first token: the ViT-L and kLayers of the 32 layers.
template <DType T>
void clip_to_first_token(benchmark::State& state) {
  ModelConfig config = ModelConfig::preset("7b");
  config.text.layers = kLayers;
  config.image_token = 259;
  config.text.vocab = 260;
  const Pipeline model = Pipeline::random(config, 1, {.dtype = T});
  std::vector<std::vector<std::uint8_t>> pixels;
  Clip clip;
  for (Index t = 0; t < config.frames; ++t) {
    pixels.emplace_back(640 * 360 * 3, static_cast<std::uint8_t>(10 * t));
    clip.frames.push_back(Frame::borrow(pixels.back().data(), 640, 360));
  }
  const Index patches = config.frames * config.vision.patches(), rows = config.pool.output.count();
  B be({.dtype = T});
  bench::measure(
      state, be,
      {.flops = vision_flops(config.vision, config.frames) +
                projector_flops(config.projector, patches, rows) +
                prefill_flops(config.text, rows)},
      [] {}, [&] { model.watch(clip).ask("What happens?", {.max_new_tokens = 1}); });
}

void options(benchmark::internal::Benchmark* b) {
  b->UseManualTime()->Iterations(5)->Unit(benchmark::kMillisecond);
}

BENCHMARK(vision<DType::bf16>)->Apply(options)->ArgName("frames")->Arg(2);
BENCHMARK(vision<DType::f32>)->Apply(options)->ArgName("frames")->Arg(2)->Iterations(3);
BENCHMARK(prefill<DType::bf16>)->Apply(options)->ArgName("rows")->Arg(2400)->Iterations(3);
BENCHMARK(decode<DType::bf16>)->Apply(options)->ArgName("context")->Arg(2400)->Iterations(21);
BENCHMARK(decode<DType::f32>)->Apply(options)->ArgName("context")->Arg(2400)->Iterations(11);
BENCHMARK(clip_to_first_token<DType::bf16>)->Apply(options)->Iterations(1);

}  // namespace

BENCHMARK_MAIN();
