// What this machine can do at most, measured beside the work: every benchmark probes its ceiling
// before each of its runs, because on a shared machine the ceiling moves.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <vector>

#include <benchmark/benchmark.h>

#include "pllava/pllava.hpp"

namespace bench {

using pllava::Index;

inline double seconds(const std::function<void()>& work) {
  pllava::detail::Stopwatch watch;
  work();
  return watch.lap() / 1e3;
}

/// Operations a second of the backend's matrix kernel with all operands in the first-level cache,
/// on all its threads.
inline double peak_flops(pllava::cpu::Backend& be) {
  using pllava::bf16;
  const pllava::cpu::Kernels& k = pllava::cpu::kernels(be.options().isa);
  const bool pairs = be.activation_dtype() == pllava::DType::bf16;
  const Index depth = 256, repeats = 10'000, columns = pllava::cpu::kPanel;
  const auto size = [](Index n) { return static_cast<std::size_t>(n); };
  const std::vector<float> a(size(depth * k.max_rows)), b(size(depth * columns));
  const double s = seconds([&] {
    be.pool().run(be.pool().size(), [&](Index) {
      std::vector<float> c(size(k.max_rows * columns));
      for (Index i = 0; i < repeats; ++i) {
        if (pairs)
          k.tile_bf16(k.max_rows, reinterpret_cast<const bf16*>(a.data()),
                      reinterpret_cast<const bf16*>(b.data()), depth / 2, c.data());
        else
          k.tile_f32(k.max_rows, a.data(), b.data(), depth, c.data());
        benchmark::DoNotOptimize(c.data());
      }
    });
  });
  return static_cast<double>(2 * depth * k.max_rows * columns * repeats * be.pool().size()) / s;
}

/// Bytes a second that all threads of the backend together read from memory.
inline double read_bandwidth(pllava::cpu::Backend& be) {
  constexpr Index kWords = Index{1} << 26;  // 512 MiB, beyond any cache
  static const auto memory = [] {
    auto m = pllava::cpu::aligned_memory(kWords * 8, "the bandwidth probe");
    std::fill_n(static_cast<std::uint64_t*>(m.get()), kWords, 1);
    return m;
  }();
  const auto* words = static_cast<const std::uint64_t*>(memory.get());
  constexpr Index kTask = Index{1} << 17;  // 1 MiB
  const double s = seconds([&] {
    be.pool().run(kWords / kTask, [&](Index t) {
      std::uint64_t sum[32] = {};
      for (Index i = t * kTask; i < (t + 1) * kTask; i += 32)
        for (Index j = 0; j < 32; ++j) sum[j] += words[i + j];
      benchmark::DoNotOptimize(sum);
    });
  });
  return static_cast<double>(kWords * 8) / s;
}

/// What one run of a benchmark does.
struct Work {
  double flops = 0;
  double bytes = 0;   ///< read from memory
  double tokens = 0;  ///< for a rate
};

/// Runs `work` once to warm up, then as often as `state` says, each time after a probe of the
/// ceiling that limits it: bytes where given, operations otherwise. Reports medians.
inline void measure(benchmark::State& state, pllava::cpu::Backend& be, const Work& w,
                    const std::function<void()>& prepare, const std::function<void()>& work) {
  prepare();
  work();
  std::vector<double> times, fractions;
  for (auto _ : state) {
    prepare();
    const double ceiling = w.bytes > 0 ? read_bandwidth(be) : peak_flops(be);
    const double s = seconds(work);
    state.SetIterationTime(s);
    times.push_back(s);
    fractions.push_back((w.bytes > 0 ? w.bytes : w.flops) / s / ceiling);
  }
  const auto median = [](std::vector<double>& v) {
    std::ranges::sort(v);
    return v[v.size() / 2];
  };
  const double s = median(times);
  if (w.flops > 0) state.counters["GFLOP/s"] = w.flops / s / 1e9;
  if (w.bytes > 0) state.counters["GB/s"] = w.bytes / s / 1e9;
  if (w.tokens > 0) state.counters["tokens/s"] = w.tokens / s;
  state.counters["median_ms"] = s * 1e3;
  if (w.bytes > 0 || w.flops > 0) state.counters["of_ceiling"] = median(fractions);
}

}  // namespace bench
