// Every benchmark probes its ceiling before each of its runs, because on a shared machine the
// ceiling moves.
#pragma once

#include <algorithm>
#include <functional>
#include <vector>

#include <benchmark/benchmark.h>

#include "pllava/core/stopwatch.hpp"
#include "pllava/cpu/ceiling.hpp"
#include "pllava/models/work.hpp"
#include "pllava/pllava.hpp"

namespace bench {

using pllava::Index;

inline double seconds(const std::function<void()>& work) {
  pllava::Stopwatch watch;
  work();
  return watch.lap() / 1e3;
}

/// The ceilings that this work runs into.
inline pllava::Ceiling ceiling(pllava::cpu::Backend& be, const pllava::Work& w) {
  return {.flops = w.flops > 0 ? pllava::cpu::peak_flops(be) : 0,
          .integers = w.integers > 0 ? pllava::cpu::peak_int8_ops(be) : 0,
          .nibbles = w.nibbles > 0 ? pllava::cpu::peak_int4_ops(be) : 0,
          .bytes = w.bytes > 0 ? pllava::cpu::read_bandwidth(be) : 0};
}

/// Runs `work` once to warm up, then as often as `state` says, each time after a probe of its
/// ceilings. Reports medians; `tokens` are for a rate.
inline void measure(benchmark::State& state, pllava::cpu::Backend& be, const pllava::Work& w,
                    double tokens, const std::function<void()>& prepare,
                    const std::function<void()>& work) {
  prepare();
  work();
  std::vector<double> times, fractions;
  for (auto _ : state) {
    prepare();
    const double floor = floor_seconds(w, ceiling(be, w));
    const double s = seconds(work);
    state.SetIterationTime(s);
    times.push_back(s);
    fractions.push_back(floor / s);
  }
  const auto median = [](std::vector<double>& v) {
    std::ranges::sort(v);
    return v[v.size() / 2];
  };
  const double s = median(times);
  const double operations = w.flops + w.integers + w.nibbles;
  if (operations > 0) state.counters["GOP/s"] = operations / s / 1e9;
  if (w.bytes > 0) state.counters["GB/s"] = w.bytes / s / 1e9;
  if (tokens > 0) state.counters["tokens/s"] = tokens / s;
  state.counters["median_ms"] = s * 1e3;
  state.counters["of_ceiling"] = median(fractions);
}

}  // namespace bench
