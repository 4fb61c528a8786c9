// Benchmarks against the ceilings of the machine. The ceilings are measured before each run,
// because they change on a shared machine.
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

/// Peak rates now, of the kinds of work that `w` has.
inline pllava::Ceiling ceiling(pllava::cpu::Backend& be, const pllava::Work& w) {
  return {.flops = w.flops > 0 ? pllava::cpu::peak_flops(be) : 0,
          .int8_ops = w.int8_ops > 0 ? pllava::cpu::peak_int8_ops(be) : 0,
          .int4_ops = w.int4_ops > 0 ? pllava::cpu::peak_int4_ops(be) : 0,
          .bytes = w.bytes > 0 ? pllava::cpu::read_bandwidth(be) : 0};
}

/// Runs `work` once as a warm-up, then for each iteration of `state`, after a measurement of its
/// ceilings. Reports medians, and tokens per second if `tokens` is not 0.
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
    std::sort(v.begin(), v.end());
    return v[v.size() / 2];
  };
  const double s = median(times);
  const double operations = w.flops + w.int8_ops + w.int4_ops;
  if (operations > 0) state.counters["GOP/s"] = operations / s / 1e9;
  if (w.bytes > 0) state.counters["GB/s"] = w.bytes / s / 1e9;
  if (tokens > 0) state.counters["tokens/s"] = tokens / s;
  state.counters["median_ms"] = s * 1e3;
  state.counters["of_ceiling"] = median(fractions);
}

}  // namespace bench
