// The decoder's standing properties: however rows are fed, the result is the same, and a step can
// be recorded and replayed.
#include "pllava/models/language_model.hpp"

#include <algorithm>
#include <atomic>
#include <vector>

#include "pllava/pllava.hpp"
#include "pllava/reference/backend.hpp"
#include "support/catch.hpp"
#include "support/recording_backend.hpp"
#include "support/tensors.hpp"

namespace {

using namespace pllava;
using Values = std::vector<float>;

const std::vector<std::int32_t> kPrompt = {5, 9, 2, 77, 31, 8, 8, 120, 3, 64, 11, 19, 40};

TextConfig config() {
  TextConfig c = ModelConfig::preset("tiny").text;
  c.layers = 3;
  c.context = 64;
  return c;
}

template <Backend B>
LanguageModel<B> model(B& be, Index chunk = max_batch_rows<B>()) {
  return LanguageModel<B>(be, config(), RandomWeights::scope(4)["language_model"], chunk);
}

/// Logits after the prompt, prefilled in chunks.
template <Backend B>
Values prefilled(B be, Index chunk) {
  const auto m = model(be, chunk);
  KvCache<B> kv = m.make_cache(be, 64);
  Tensor<B> logits(be, {1, config().vocab}, DType::f32);
  m.forward(be, m.embed(be, kPrompt).view(), kv, logits.view());
  CHECK(kv.length() == static_cast<Index>(kPrompt.size()));
  return detail::to_floats(be, logits);
}

/// The same, one step a token.
template <Backend B>
Values stepped(B be) {
  const auto m = model(be);
  KvCache<B> kv = m.make_cache(be, 64);
  Tensor<B> logits(be, {1, config().vocab}, DType::f32);
  for (const std::int32_t id : kPrompt) m.step(be, test::ids(be, {id}).view(), kv, logits.view());
  CHECK(kv.length() == static_cast<Index>(kPrompt.size()));
  return detail::to_floats(be, logits);
}

TEST_CASE("A prefill in chunks, in steps and in one piece is the same", "[language_model]") {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    INFO(name_of(dtype));
    const double tolerance = dtype == DType::f32 ? 1e-5 : 2e-2;
    const auto be = [&] { return cpu::Backend({.dtype = dtype, .threads = 2}); };
    const Values whole = prefilled(be(), 1024);
    CHECK(test::distance(whole, prefilled(reference::Backend(), 1024)) < tolerance);
    for (const Index chunk : {1, 2, 5, 12, 13})
      CHECK(test::distance(prefilled(be(), chunk), whole) < tolerance);
    CHECK(test::distance(stepped(be()), whole) < tolerance);
  }
}

TEST_CASE("Fused verbs compute what their compositions compute", "[language_model]") {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const cpu::BackendOptions options{.dtype = dtype, .threads = 1};
    const Values fused = prefilled(test::RecordingBackend<true>(options), 1024);
    CHECK(test::distance(prefilled(test::RecordingBackend<false>(options), 1024), fused) <
          (dtype == DType::f32 ? 1e-5 : 2e-2));
  }
}

TEST_CASE("A step neither allocates nor copies, and repeats itself at the same addresses",
          "[language_model]") {
  test::RecordingBackend<true> be;
  const auto m = model(be);
  auto kv = m.make_cache(be, 64);
  Tensor<test::RecordingBackend<true>> logits(be, {1, config().vocab}, DType::f32);
  auto id = test::ids(be, {7});
  m.forward(be, m.embed(be, kPrompt).view(), kv, View{});
  m.step(be, id.view(), kv, logits.view());  // the arena grows once
  be.take_calls(), be.take_step();

  m.step(be, id.view(), kv, logits.view());
  const std::vector<test::Call> first = be.take_step(), around = be.take_calls();
  m.step(be, id.view(), kv, logits.view());
  const std::vector<test::Call> second = be.take_step();
  CHECK(first == second);
  REQUIRE(first.size() > 3 * 5);
  CHECK(first.front().verb == "embed");
  CHECK(first.front().operands[1] == id.view().data);
  CHECK(first.back().operands[0] == logits.view().data);
  for (const test::Call& c : first)
    for (const char* forbidden : {"allocate", "upload", "download", "prepare", "make_kv"})
      CHECK(c.verb != forbidden);
  // Around it, one upload: the new length.
  REQUIRE(around.size() == 1);
  CHECK(around[0].verb == "upload");
}

TEST_CASE("A cache that is too small, a bad id and a cancelled prefill change nothing",
          "[language_model]") {
  using B = cpu::Backend;
  B be({.threads = 2});
  const auto m = model(be, 4);
  KvCache<B> kv = m.make_cache(be, 14);
  Tensor<B> logits(be, {1, config().vocab}, DType::f32);
  m.forward(be, m.embed(be, kPrompt).view(), kv, logits.view());
  const Values expected = detail::to_floats(be, logits);

  try {
    m.forward(be, m.embed(be, std::vector<std::int32_t>{1, 2}).view(), kv, logits.view());
    FAIL("15 rows fitted into 14");
  } catch (const ContextError& e) {
    CHECK(e.needed() == 15);
    CHECK(e.available() == 14);
  }
  CHECK_THROWS_AS(m.make_cache(be, 65), ContextError);
  CHECK_THROWS_AS(m.embed(be, std::vector<std::int32_t>{-1}), ArgumentError);
  CHECK_THROWS_AS(m.embed(be, std::vector<std::int32_t>{static_cast<std::int32_t>(config().vocab)}),
                  ArgumentError);
  CHECK_THROWS_AS(model(be, 0), ArgumentError);

  kv.truncate(be, 0);
  std::atomic<bool> cancel{false};
  const RunControl after_one_chunk{&cancel, [&](std::string_view, Index done, Index total) {
                                     CHECK(total == 13);
                                     if (done == 4) cancel = true;
                                   }};
  CHECK_THROWS_AS(m.forward(be, m.embed(be, kPrompt).view(), kv, logits.view(), after_one_chunk),
                  CancelledError);
  CHECK(kv.length() == 0);
  m.forward(be, m.embed(be, kPrompt).view(), kv, logits.view());
  CHECK(detail::to_floats(be, logits) == expected);
}

TEST_CASE("The same tokens in another order give other logits", "[language_model]") {
  using B = cpu::Backend;
  B be({.threads = 1});
  const auto m = model(be);
  const auto logits_of = [&](std::vector<std::int32_t> ids) {
    KvCache<B> kv = m.make_cache(be, 64);
    Tensor<B> logits(be, {1, config().vocab}, DType::f32);
    m.forward(be, m.embed(be, ids).view(), kv, logits.view());
    return detail::to_floats(be, logits);
  };
  CHECK(test::distance(logits_of({5, 9, 2}), logits_of({9, 5, 2})) > 1e-3);
}

TEST_CASE("A tied head reads the embedding table", "[language_model]") {
  using B = reference::Backend;
  B be;
  TextConfig tied = config();
  tied.tied_embeddings = true;
  const LanguageModel<B> m(be, tied, RandomWeights::scope(4)["language_model"]);
  KvCache<B> kv = m.make_cache(be, 8);
  Tensor<B> logits(be, {1, tied.vocab}, DType::f32);
  m.forward(be, m.embed(be, kPrompt).view().slice(0, 8), kv, logits.view());
  CHECK(test::distance(detail::to_floats(be, logits), prefilled(B(), 1024)) > 0.1);
}

}  // namespace
