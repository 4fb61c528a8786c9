// The CPU backend allocates no heap memory once its scratch memory has grown.
#include <cstdlib>
#include <functional>
#include <new>
#include <string_view>
#include <vector>

#include "pllava/pllava.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/isas.hpp"
#include "support/tensors.hpp"

namespace {

using namespace pllava;
using B = cpu::Backend;

using test::AllocationCounter;

/// Whether the test can run. Says why where it cannot.
bool can_count() {
  if (!AllocationCounter::counts_malloc())
    WARN("skipped: the sanitizer's malloc cannot be replaced to count its calls");
  return AllocationCounter::counts_malloc();
}

TextConfig config() {
  TextConfig c = ModelConfig::preset("tiny").text;
  c.context = 1024;
  return c;
}

/// A model of random weights on a backend, and its KV cache.
struct Decoder {
  Decoder(const cpu::BackendOptions& options, const QuantizeOptions& quantize, Index chunk)
      : be(options),
        model(be, config(),
              quantized(RandomWeights::scope(5, DType::bf16), quantize)["language_model"], chunk),
        kv(model.make_cache(be, config().context)),
        logits(be, {1, config().vocab}, DType::f32),
        id(test::ids(be, {7})) {}

  /// Embeddings of `rows` tokens.
  Tensor<B> prompt(Index rows) {
    std::vector<std::int32_t> ids;
    for (Index i = 0; i < rows; ++i) ids.push_back(static_cast<std::int32_t>(i * 7 % 300));
    return model.embed(be, ids);
  }

  B be;
  LanguageModel<B> model;
  KvCache<B> kv;
  Tensor<B> logits;
  Tensor<B> id;
};

/// Calls visit(options, quantize) for every combination of instruction set, type, weight format and
/// KV cache.
void each_configuration(
    const std::function<void(const cpu::BackendOptions&, const QuantizeOptions&)>& visit) {
  for (const cpu::Isa isa : test::supported_isas())
    for (const DType dtype : {DType::f32, DType::bf16})
      for (const WeightFormat format :
           {WeightFormat::unquantized, WeightFormat::int8, WeightFormat::int4})
        for (const bool int8_kv : {false, true}) {
          INFO(cpu::kernels(isa).name << ' ' << name_of(dtype) << ", weights " << name_of(format)
                                      << (int8_kv ? ", int8 KV cache" : ""));
          visit({.dtype = dtype, .threads = 3, .isa = isa, .int8_kv = int8_kv},
                QuantizeOptions::of(format));
        }
}

TEST_CASE("the allocation counter counts every kind of allocation", "[allocation]") {
  if (!can_count()) return;
  std::vector<std::function<void*()>> calls = {[] { return ::operator new(100); }};
#if defined(__GLIBC__)
  calls.emplace_back([] { return std::malloc(100); });
  calls.emplace_back([] { return std::calloc(10, 10); });
  calls.emplace_back([] { return std::aligned_alloc(64, 128); });
#endif
  for (const auto& call : calls) {
    void* memory = nullptr;
    long count = 0;
    {
      const AllocationCounter counter;
      memory = call();
      count = counter.count();
    }
    std::free(memory);  // operator new of either branch above calls malloc
    CHECK(count == 1);
  }
}

TEST_CASE("a decode step allocates nothing after the first", "[allocation]") {
  if (!can_count()) return;
  each_configuration([](const cpu::BackendOptions& options, const QuantizeOptions& quantize) {
    Decoder d(options, quantize, 64);
    // 250 rows: the steps cross the first block of 256 keys.
    d.model.forward(d.be, d.prompt(250).view(), d.kv, View{});
    d.model.step(d.be, d.id.view(), d.kv, d.logits.view());
    const AllocationCounter counter;
    for (int i = 0; i < 12; ++i) d.model.step(d.be, d.id.view(), d.kv, d.logits.view());
    CHECK(counter.count() == 0);
    CHECK(d.kv.length() == 263);
  });
}

TEST_CASE("the first decode step allocates only scratch memory", "[allocation]") {
  if (!can_count()) return;
  each_configuration([](const cpu::BackendOptions& options, const QuantizeOptions& quantize) {
    Decoder d(options, quantize, 64);
    const AllocationCounter counter;
    d.model.step(d.be, d.id.view(), d.kv, d.logits.view());
    // One block of scratch: its memory, its reference count, and the list of blocks.
    CHECK(counter.count() <= 3);
  });
}

TEST_CASE("a prefill chunk allocates nothing after the first", "[allocation]") {
  if (!can_count()) return;
  each_configuration([](const cpu::BackendOptions& options, const QuantizeOptions& quantize) {
    constexpr Index kChunk = 70, kRows = 3 * kChunk + 25;  // the last chunk is shorter
    Decoder d(options, quantize, kChunk);
    Tensor<B> x = d.prompt(kRows);
    std::vector<long> counts;
    counts.reserve(8);
    {
      const AllocationCounter counter;
      RunControl control;
      control.progress = [&](std::string_view, Index, Index) { counts.push_back(counter.count()); };
      d.model.forward(d.be, x.view(), d.kv, d.logits.view(), control);
    }
    REQUIRE(counts.size() == 4);
    CHECK(counts[0] > 0);
    for (std::size_t i = 1; i < counts.size(); ++i) CHECK(counts[i] == counts[0]);
  });
}

}  // namespace
