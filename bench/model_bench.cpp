// Vision, prefill, decode and a whole clip at the published 7B sizes with random weights. Four of
// the 32 decoder layers stand for all: they are alike.
#include <algorithm>
#include <span>

#include "ceiling.hpp"

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
  const auto rows = static_cast<double>(frames * (c.patches() + 1));
  const auto d = static_cast<double>(c.width), f = static_cast<double>(c.ffn);
  const double products = 2 * rows * (4 * d * d + 2 * d * f);
  const double attention = 4 * rows * static_cast<double>(c.patches() + 1) * d;
  bench::measure(
      state, be, {.flops = static_cast<double>(c.used_layers()) * (products + attention)}, [] {},
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
  double layer = static_cast<double>(4 * config.width * config.width +  // weights of one
                                     3 * config.width * config.ffn);
  double head = static_cast<double>(config.vocab * config.width);
  Index width = config.width;
};

template <DType T>
void prefill(benchmark::State& state) {
  SevenB<T> m;
  const Index N = state.range(0);
  KvCache<B> kv = m.model.make_cache(m.be, N);
  Tensor<B> x(m.be, {N, m.width}, DType::f32), y(m.be, {1, m.config.vocab}, DType::f32);
  // The last layer computes keys, values and queries of all rows, and the rest of one.
  const auto n = static_cast<double>(N);
  const double last = 3 * static_cast<double>(m.width * m.width);
  const double products = 2 * n * ((kLayers - 1) * m.layer + last);
  const double attention = 2 * n * n * static_cast<double>(m.width * (kLayers - 1));
  const double whole = n * 32 * (2 * m.layer + 2 * n * static_cast<double>(m.width));  // all layers
  bench::measure(
      state, m.be, {.flops = products + attention, .tokens = n * (products + attention) / whole},
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
  const double weights = kLayers * m.layer + m.head;
  const auto cache = static_cast<double>(2 * N * m.width * kLayers);
  bench::measure(
      state, m.be, {.bytes = static_cast<double>(size_of(T)) * (weights + cache), .tokens = 1},
      [&] { kv.truncate(m.be, N); }, [&] { m.model.step(m.be, id, kv, y); });
}

/// From frames in memory to the first token: the ViT-L and kLayers of the 32 layers.
template <DType T>
void clip_to_first_token(benchmark::State& state) {
  ModelConfig config = ModelConfig::preset("7b");
  config.text.layers = kLayers;
  config.image_token = 259;
  config.text.vocab = 260;
  const Pipeline model = Pipeline::random(config, 1, {.dtype = T});
  const std::vector<std::uint8_t> pixels(640 * 360 * 3, 100);
  Clip clip;
  clip.frames.assign(16, Frame::borrow(pixels.data(), 640, 360));
  for (auto _ : state) {
    GenerateOptions one;
    one.max_new_tokens = 1;
    const double s = bench::seconds([&] { model.watch(clip).ask("What happens?", one); });
    state.SetIterationTime(s);
  }
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
