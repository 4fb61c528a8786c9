// Language models alone against transformers, on tiny random checkpoints that it saved
// (tests/data/make_decoder_goldens.py).
#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "pllava/models/text_architecture.hpp"
#include "pllava/pllava.hpp"
#include "support/catch.hpp"
#include "support/goldens.hpp"
#include "support/subjects.hpp"

namespace {

using namespace pllava;

std::filesystem::path data(const std::string& name) {
  return std::filesystem::path(PLLAVA_TEST_DATA) / "decoder" / name;
}

Checkpoint open(const std::string& name) {
  return Checkpoint::open(data(name), {.architectures = text_architectures()});
}

struct Result {
  double logits_distance = 0;
  std::vector<std::int32_t> greedy;
};

/// Prefills the golden's prompt and decodes as many tokens as the golden has.
template <Backend B>
Result run(B be, const std::string& name, const SafetensorsFile& golden) {
  const Checkpoint checkpoint = open(name);
  const LanguageModel<B> model(be, checkpoint.config().text, checkpoint["language_model"]);
  KvCache<B> kv = model.make_cache(be, model.config().context);
  Tensor<B> logits(be, {1, model.config().vocab}, DType::f32);
  Tensor<B> x = model.embed(be, test::golden_ids(golden, "prompt_ids"));
  model.forward(be, x, kv, logits);
  std::vector<float> scores = detail::to_floats(be, logits);
  Result result;
  result.logits_distance = test::relative_distance(scores, test::golden_floats(golden, "logits"));
  for (std::size_t n = test::golden_ids(golden, "greedy_ids").size(); n > 0; --n) {
    const auto best = std::ranges::max_element(scores) - scores.begin();
    result.greedy.push_back(static_cast<std::int32_t>(best));
    Tensor<B> next = model.embed(be, {&result.greedy.back(), 1});
    model.forward(be, next, kv, logits);
    scores = detail::to_floats(be, logits);
  }
  return result;
}

TEST_CASE("LLaMA 3, Mistral and Qwen2 alone equal transformers", "[model]") {
  for (const std::string name : {"llama3", "mistral", "qwen2"}) {
    const SafetensorsFile golden = SafetensorsFile::open(data(name) / "golden.safetensors");
    test::each_backend({DType::f32, DType::bf16}, [&](const auto& s) {
      INFO(name << " on " << s.name());
      const Result result = run(s.backend(), name, golden);
      CHECK(result.logits_distance < (s.dtype == DType::f32 ? 1e-4 : 2e-2));
      if (s.dtype == DType::f32) CHECK(result.greedy == test::golden_ids(golden, "greedy_ids"));
    });
  }
}

TEST_CASE("A decoder's configuration has what differs between the kinds", "[model]") {
  const TextConfig llama = open("llama3").config().text;
  REQUIRE(llama.rope_scaling);
  CHECK(llama.rope_scaling->factor == 8);
  CHECK(llama.rope_scaling->original_context == 32);
  CHECK_FALSE(llama.qkv_bias);
  const TextConfig mistral = open("mistral").config().text;
  CHECK(mistral.context == 120);  // its sliding window, not its 160 positions
  CHECK(mistral.head_dim == 16);
  const Checkpoint qwen2 = open("qwen2");
  CHECK(qwen2.config().text.qkv_bias);
  CHECK(qwen2.config().text.tied_embeddings);
  CHECK(qwen2.config().eos_tokens == std::vector<Index>{2});
  CHECK(qwen2.report().clean());
  CHECK_THROWS_AS(Checkpoint::open(data("qwen2")), LoadError);  // no LLaVA model
}

TEST_CASE("Frequencies of rotary positions are scaled as for Llama 3", "[model]") {
  TextConfig config;
  config.head_dim = 128;
  config.rope_theta = 500000;
  const float fast = rope_frequency(config, 0), slow = rope_frequency(config, 63);
  config.rope_scaling = RopeScaling{};  // of Llama 3.1
  CHECK(rope_frequency(config, 0) == fast);
  CHECK(rope_frequency(config, 63) == Approx(slow / 8));
  for (Index i = 1; i < 64; ++i) CHECK(rope_frequency(config, i) < rope_frequency(config, i - 1));
}

}  // namespace
