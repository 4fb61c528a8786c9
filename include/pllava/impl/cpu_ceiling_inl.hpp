// Probes of the machine.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <vector>

#include "pllava/core/stopwatch.hpp"
#include "pllava/cpu/ceiling.hpp"

namespace pllava::cpu {

PLLAVA_INLINE double peak_flops(Backend& be) {
  const Kernels& k = kernels(std::min(be.options().isa, detect_isa()));
  const bool pairs = be.activation_dtype() == DType::bf16;
  const Index depth = 256, repeats = 10'000;
  const auto size = [](Index n) { return static_cast<std::size_t>(n); };
  const std::vector<float> a(size(depth * k.max_rows)), b(size(depth * kPanel));
  std::atomic<float> kept = 0;  // so that nothing is left out as unused
  Stopwatch watch;
  be.pool().run(be.pool().size(), [&](Index) {
    std::vector<float> c(size(k.max_rows * kPanel));
    for (Index i = 0; i < repeats; ++i) {
      if (pairs)
        k.tile_bf16(k.max_rows, reinterpret_cast<const bf16*>(a.data()),
                    reinterpret_cast<const bf16*>(b.data()), depth / 2, c.data());
      else
        k.tile_f32(k.max_rows, a.data(), b.data(), depth, c.data());
    }
    kept = c[0];
  });
  const double seconds = watch.lap() / 1e3;
  return static_cast<double>(2 * depth * k.max_rows * kPanel * repeats * be.pool().size()) /
         seconds;
}

PLLAVA_INLINE double read_bandwidth(Backend& be) {
  constexpr Index kWords = Index{1} << 26;  // 512 MiB, beyond any cache
  static const auto memory = [] {
    auto m = aligned_memory(kWords * 8, "the bandwidth probe");
    std::fill_n(static_cast<std::uint64_t*>(m.get()), kWords, 1);
    return m;
  }();
  const auto* words = static_cast<const std::uint64_t*>(memory.get());
  constexpr Index kTask = Index{1} << 17;  // 1 MiB
  std::atomic<std::uint64_t> kept = 0;
  Stopwatch watch;
  be.pool().run(kWords / kTask, [&](Index t) {
    std::uint64_t sum[32] = {};
    for (Index i = t * kTask; i < (t + 1) * kTask; i += 32)
      for (Index j = 0; j < 32; ++j) sum[j] += words[i + j];
    kept += *std::max_element(sum, sum + 32);
  });
  return static_cast<double>(kWords * 8) / (watch.lap() / 1e3);
}

}  // namespace pllava::cpu
