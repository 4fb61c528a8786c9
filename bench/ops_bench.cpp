// Single operations at the sizes of the 7B model: GEMM, GEMV and attention.
#include "ceiling.hpp"

namespace {

using namespace pllava;
using B = cpu::Backend;

Tensor<B> filled(B& be, const Shape& shape, DType dtype) {
  Tensor<B> t(be, shape, dtype);
  for (Index i = 0; i < shape.count(); ++i)
    store_float(t.view().data, dtype, i, static_cast<float>(i % 31 - 15) / 16);
  return t;
}

template <DType T, WeightFormat F = WeightFormat::unquantized>
void gemm(benchmark::State& state) {
  B be({.dtype = T});
  const Index N = state.range(0), O = state.range(1), I = state.range(2);
  const Quantization format{.format = F};
  HostTensor values = RandomWeights(1, T).tensor("gemm.weight", {O, I});
  values.quantization = format;
  const Linear<typename B::Weight> w{be.prepare({&values, 1}, WeightRole::linear), {}, O, I};
  Tensor<B> x = filled(be, {N, I}, T);
  Tensor<B> y(be, {N, O}, T);
  const auto weights = static_cast<double>(O * I);
  const Work work = N == 1 ? Work{.bytes = weights * bits_per_weight(format, T) / 8}
                           : product_work(2 * static_cast<double>(N) * weights, format);
  bench::measure(
      state, be, work, 0, [] {}, [&] { ops::linear(be, y.view(), x.view(), w); });
}

/// Attention without RoPE. causal = 1: decoder layer, `rows` queries after `past` cached positions;
/// causal = 0: self-attention of the ViT, without a KV cache.
template <DType T, bool Int8Kv = false>
void attention(benchmark::State& state) {
  B be({.dtype = T, .int8_kv = Int8Kv});
  const Index N = state.range(0), past = state.range(1), heads = state.range(2);
  const Index dh = state.range(3);
  const bool causal = state.range(4) != 0;
  const Heads h{heads, heads, dh};
  Tensor<B> qkv = filled(be, {N, h.qkv_width()}, T);
  Tensor<B> o(be, {N, heads * dh}, T);
  KvCache<B> kv(be, 1, h, past + N);
  const auto pairs = static_cast<double>(causal ? N * past + N * (N + 1) / 2 : N * N);
  const double width = static_cast<double>(heads * dh);
  Work work{.flops = 4 * pairs * width};
  // int8: a value, and its share of the f32 scale of a position and head
  const double element = Int8Kv ? 1 + 4.0 / static_cast<double>(dh) : size_of(T);
  if (N == 1) work = {.bytes = 2 * static_cast<double>(past + 1) * element * width};
  if (causal) {  // fill the cache: pages that were never written would not be read from memory
    Tensor<B> before = filled(be, {past, h.qkv_width()}, T);
    ops::attend(be, View{nullptr, T, {0, heads * dh}}, before.view(),
                {h, nullptr, &kv.layer(0), kv.next_positions(past), Mask::causal});
    kv.commit(be, past);
  }
  bench::measure(
      state, be, work, 0, [] {},
      [&] {
        if (causal)
          ops::attend(be, o.view(), qkv.view(),
                      {h, nullptr, &kv.layer(0), kv.next_positions(N), Mask::causal});
        else
          ops::attend(be, o.view(), qkv.view(), {.heads = h});
      });
}

void options(benchmark::internal::Benchmark* b) {
  b->UseManualTime()->Iterations(5)->Unit(benchmark::kMillisecond);
}
void gemm_sizes(benchmark::internal::Benchmark* b) {
  options(b->ArgNames({"rows", "out", "in"}));
  b->Args({1154, 3072, 1024})->Args({1154, 4096, 1024})->Args({1154, 1024, 4096});     // ViT-L
  b->Args({1024, 12288, 4096})->Args({1024, 22016, 4096})->Args({1024, 4096, 11008});  // 7B
  b->Args({1, 22016, 4096});                                                           // decode
}
void attention_sizes(benchmark::internal::Benchmark* b) {
  options(b->ArgNames({"rows", "past", "heads", "dim", "causal"}));
  b->Args({577, 0, 16, 64, 0})->Args({1024, 1376, 32, 128, 1})->Args({1, 2400, 32, 128, 1});
}

BENCHMARK(gemm<DType::bf16>)->Apply(gemm_sizes);
BENCHMARK(gemm<DType::f32>)->Apply(gemm_sizes);
BENCHMARK(gemm<DType::bf16, WeightFormat::int8>)->Apply(gemm_sizes);
BENCHMARK(gemm<DType::bf16, WeightFormat::int4>)->Apply(gemm_sizes);
BENCHMARK(attention<DType::bf16>)->Apply(attention_sizes);
BENCHMARK(attention<DType::f32>)->Apply(attention_sizes);
BENCHMARK(attention<DType::bf16, true>)->Apply(attention_sizes);

}  // namespace

BENCHMARK_MAIN();
