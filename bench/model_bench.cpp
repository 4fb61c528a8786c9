// Vision, prefill and decode at the published 7B sizes with random weights, each as a fraction of a
// ceiling measured in the same run. A few of the 32 layers stand for all: they are alike.
#include <numeric>
#include <vector>

#include <benchmark/benchmark.h>

#include "pllava/pllava.hpp"

namespace {

using namespace pllava;
using B = cpu::Backend;

constexpr Index kLayers = 4;

B make_backend() {
  return B({.dtype = DType::bf16});
}

double seconds(const std::function<void()>& work) {
  detail::Stopwatch watch;
  work();
  return watch.lap() / 1e3;
}

/// Products of bf16 pairs a second with all operands in the first-level cache, all threads.
double peak_flops() {
  static const double peak = [] {
    B be = make_backend();
    const cpu::Kernels& k = cpu::kernels(be.options().isa);
    const Index pairs = 128, repeats = 20000;
    const std::vector<bf16> a(static_cast<std::size_t>(2 * pairs * k.max_rows));
    const std::vector<bf16> b(static_cast<std::size_t>(2 * pairs * cpu::kPanel));
    const Index threads = be.pool().size();
    double best = 0;
    for (int run = 0; run < 3; ++run) {
      const double s = seconds([&] {
        be.pool().run(threads, [&](Index) {
          std::vector<float> c(static_cast<std::size_t>(k.max_rows * cpu::kPanel));
          for (Index i = 0; i < repeats; ++i)
            k.tile_bf16(k.max_rows, a.data(), b.data(), pairs, c.data());
        });
      });
      const auto flops = static_cast<double>(4 * pairs * k.max_rows * cpu::kPanel * repeats);
      best = std::max(best, flops * static_cast<double>(threads) / s);
    }
    return best;
  }();
  return peak;
}

/// Bytes a second that all threads together read from memory.
double read_bandwidth() {
  static const double bandwidth = [] {
    B be = make_backend();
    const std::vector<std::uint64_t> data(std::size_t{1} << 27, 1);  // 1 GiB
    const auto threads = static_cast<std::size_t>(be.pool().size());
    double best = 0;
    for (int run = 0; run < 3; ++run) {
      const double s = seconds([&] {
        be.pool().run(static_cast<Index>(threads), [&](Index t) {
          const auto share = static_cast<std::ptrdiff_t>(data.size() / threads);
          const auto begin = data.begin() + t * share;
          benchmark::DoNotOptimize(std::reduce(begin, begin + share));
        });
      });
      best = std::max(best, static_cast<double>(data.size() * 8) / s);
    }
    return best;
  }();
  return bandwidth;
}

void report(benchmark::State& state, double flops, double bytes) {
  const auto n = static_cast<double>(state.iterations());
  using benchmark::Counter;
  if (flops > 0) {
    state.counters["FLOP/s"] = Counter(flops * n, Counter::kIsRate);
    state.counters["of_peak"] = Counter(flops * n / peak_flops(), Counter::kIsRate);
  }
  if (bytes > 0) {
    state.counters["bytes/s"] = Counter(bytes * n, Counter::kIsRate);
    state.counters["of_bandwidth"] = Counter(bytes * n / read_bandwidth(), Counter::kIsRate);
  }
}

void vision(benchmark::State& state) {
  B be = make_backend();
  const VisionConfig c = ModelConfig::preset("7b").vision;
  const VisionEncoder<B> encode(be, c, RandomWeights::scope(1, DType::bf16)["vision_tower"]);
  Tensor<B> pixels(be, {2, 3, c.image_size, c.image_size}, DType::f32);
  std::fill_n(pixels.view().as<float>(), pixels.shape().count(), 0.1f);
  for (auto _ : state) benchmark::DoNotOptimize(encode(be, pixels).view().data);
  const auto rows = static_cast<double>(2 * (c.patches() + 1));
  const auto d = static_cast<double>(c.width), f = static_cast<double>(c.ffn);
  const double products = 2 * rows * (4 * d * d + 2 * d * f);
  const double attention = 4 * rows * static_cast<double>(c.patches() + 1) * d;
  report(state, static_cast<double>(c.used_layers()) * (products + attention), 0);
}

struct SevenB {
  TextConfig config = [] {
    TextConfig c = ModelConfig::preset("7b").text;
    c.layers = kLayers;
    c.vocab = 1024;  // the head is measured by neither
    return c;
  }();
  B be = make_backend();
  LanguageModel<B> model{be, config, RandomWeights::scope(1, DType::bf16)["language_model"]};
  double weights = static_cast<double>(
      kLayers * (4 * config.width * config.width + 3 * config.width * config.ffn));
};

void prefill(benchmark::State& state) {
  SevenB m;
  const Index N = state.range(0);
  KvCache<B> kv = m.model.make_cache(m.be, N);
  Tensor<B> x(m.be, {N, m.config.width}, DType::f32), y(m.be, {1, m.config.vocab}, DType::f32);
  for (auto _ : state) {
    std::fill_n(x.view().as<float>(), x.shape().count(), 0.1f);
    kv.truncate(m.be, 0);
    m.model.forward(m.be, x, kv, y);
  }
  // the last layer computes keys and values of all rows, and the rest of one
  const double skipped =
      static_cast<double>(m.config.width * m.config.width + 3 * m.config.width * m.config.ffn);
  const auto n = static_cast<double>(N);
  report(state,
         2 * n * (m.weights - skipped) +
             2 * n * n * static_cast<double>(m.config.width * (kLayers - 1)),
         0);
  state.counters["tokens/s_of_32_layers"] = benchmark::Counter(
      n * kLayers / 32 * static_cast<double>(state.iterations()), benchmark::Counter::kIsRate);
}

void decode(benchmark::State& state) {
  SevenB m;
  const Index N = state.range(0);
  KvCache<B> kv = m.model.make_cache(m.be, N + 1);
  Tensor<B> x(m.be, {N, m.config.width}, DType::f32), y(m.be, {1, m.config.vocab}, DType::f32);
  std::fill_n(x.view().as<float>(), x.shape().count(), 0.1f);
  m.model.forward(m.be, x, kv, View{});
  for (auto _ : state) {
    kv.truncate(m.be, N);
    m.model.forward(m.be, x.view().slice(0, 1), kv, y);
  }
  const auto cache = static_cast<double>(2 * N * m.config.width * kLayers);
  report(state, 0, 2 * (m.weights + cache));
}

BENCHMARK(vision)->Unit(benchmark::kMillisecond)->UseRealTime()->MinTime(3);
BENCHMARK(prefill)->ArgName("rows")->Arg(2400)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(decode)->ArgName("context")->Arg(2400)->Unit(benchmark::kMillisecond)->UseRealTime();

}  // namespace

BENCHMARK_MAIN();
