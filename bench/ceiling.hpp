// Every benchmark probes its ceiling before each of its runs, because on a shared machine the
// ceiling moves.
#pragma once

#include <algorithm>
#include <functional>
#include <vector>

#include <benchmark/benchmark.h>

#include "pllava/core/stopwatch.hpp"
#include "pllava/cpu/ceiling.hpp"
#include "pllava/pllava.hpp"

namespace bench {

using pllava::Index;

using pllava::cpu::peak_flops;
using pllava::cpu::read_bandwidth;

inline double seconds(const std::function<void()>& work) {
  pllava::Stopwatch watch;
  work();
  return watch.lap() / 1e3;
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
