// What the CUDA backend promises beyond its verbs.
#include <vector>

#include "pllava/cuda.hpp"
#include "pllava/pllava.hpp"
#include "support/catch.hpp"
#ifndef PLLAVA_TEST_GPU
#include "support/host_device.hpp"
#endif
#include "support/tensors.hpp"

namespace {

using namespace pllava;
using B = cuda::Backend;

std::vector<std::uint8_t> stripes() {
  std::vector<std::uint8_t> bytes(64 * 48 * 3);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(i * i / 5);
  return bytes;
}

/// Sixteen frames that differ.
Clip clip(const std::vector<std::uint8_t>& bytes) {
  Clip c;
  for (int t = 0; t < 16; ++t)
    c.frames.push_back(Frame::borrow(bytes.data() + 3 * t, 32, 40, PixelFormat::rgb, 64 * 3));
  return c;
}

ModelConfig tiny() {
  return ModelConfig::preset("tiny");
}

TEST_CASE("A pipeline on CUDA answers as the CPU does, again and again", "[cuda]") {
  const auto bytes = stripes();
  const auto ask = [&](const Pipeline& model) {
    Session session = model.watch(clip(bytes));
    const auto video = session.mark();
    std::vector<std::string> answers = {session.ask("What?", {.max_new_tokens = 12}).text};
    session.rewind(video);
    answers.push_back(session.ask("Where?", {.max_new_tokens = 12}).text);
    answers.push_back(session.ask("And then?", {.max_new_tokens = 12}).text);
    return answers;
  };
  const auto expected = ask(Pipeline::random(tiny(), 3, {.dtype = DType::f32, .threads = 2}));
  const Pipeline model = Pipeline::random(tiny(), B({.dtype = DType::f32}), 3);
  CHECK(ask(model) == expected);
  CHECK(ask(model) == expected);
}

TEST_CASE("Sampling with a temperature, and penalties, agree with the CPU's", "[cuda]") {
  const auto logits = test::numbers(500, 17);
  const auto choose = [&](auto be, const SamplingOptions& options) {
    Sampler sampler(options, {7});
    std::vector<std::int32_t> chosen;
    for (int i = 0; i < 5; ++i) {
      const auto scores = test::tensor(be, logits, {1, 500}, DType::f32);
      const auto id = test::ids(be, {-1});
      chosen.push_back(ops::sample(be, id.view(), scores.view(), sampler));
    }
    return chosen;
  };
  for (const SamplingOptions& options :
       {SamplingOptions{}, SamplingOptions{.repetition_penalty = 1.5f},
        SamplingOptions{.min_new_tokens = 3}, SamplingOptions{.temperature = 0.8f, .seed = 5}})
    CHECK(choose(B({.dtype = DType::f32}), options) ==
          choose(cpu::Backend({.threads = 1}), options));
}

TEST_CASE("Logits that are no numbers are refused, and the backend stays usable", "[cuda]") {
  B be;
  Sampler sampler;
  const auto id = test::ids(be, {-1});
  const auto bad = test::tensor(be, {1.0f, std::nanf(""), 2.0f}, {1, 3}, DType::f32);
  CHECK_THROWS_AS(ops::sample(be, id.view(), bad.view(), sampler), Error);
  const auto good = test::tensor(be, {1.0f, 3.0f, 3.0f}, {1, 3}, DType::f32);
  CHECK(ops::sample(be, id.view(), good.view(), sampler) == 1);
}

TEST_CASE("What CUDA cannot do is refused with its name", "[cuda]") {
  CHECK_THROWS_AS(B({.dtype = DType::i32}), ArgumentError);
  try {
    B be({.device = 99});
    FAIL("device 99 was taken");
  } catch (const cuda::Error& e) {
    CHECK(e.call() == "cudaSetDevice");
    CHECK(std::string(e.what()).find("no device 99") != std::string::npos);
  }
}

#ifndef PLLAVA_TEST_GPU

TEST_CASE("Device memory that cannot be had is an error, and nothing leaks", "[cuda]") {
  auto& host = cuda::HostDevice::instance();
  const auto before = host.living;
  {
    const Pipeline model = Pipeline::random(tiny(), B({.dtype = DType::f32}), 3);
    const auto bytes = stripes();
    Session session = model.watch(clip(bytes));
    const auto answer = session.ask("What?", {.max_new_tokens = 4}).text;
    host.most_bytes = 1 << 12;
    CHECK_THROWS_AS(model.watch(clip(bytes)), OutOfMemoryError);
    host.most_bytes = std::numeric_limits<Index>::max();
    CHECK(model.watch(clip(bytes)).ask("What?", {.max_new_tokens = 4}).text == answer);
  }
  CHECK(host.living == before);
}

TEST_CASE("A decode step on CUDA downloads its token and allocates nothing", "[cuda]") {
  auto& host = cuda::HostDevice::instance();
  B be({.dtype = DType::f32});
  const ModelConfig config = tiny();
  const LanguageModel<B> model(be, config.text, RandomWeights::scope(1)["language_model"]);
  KvCache<B> kv = model.make_cache(be, 64);
  const Tensor<B> logits(be, {1, config.text.vocab}, DType::f32);
  const auto id = test::ids(be, {5});
  Sampler sampler;
  model.step(be, id, kv, logits);  // scratch grows once
  const auto allocations = host.allocations, downloads = host.downloads;
  for (int i = 0; i < 3; ++i) {
    model.step(be, id, kv, logits);
    ops::sample(be, id.view(), logits.view(), sampler);
  }
  CHECK(host.allocations == allocations);
  CHECK(host.downloads == downloads + 3);
}

#else

TEST_CASE("A recorded step is replayed for every length of its bucket", "[cuda]") {
  B be({.dtype = DType::f32}), plain({.dtype = DType::f32, .graphs = false});
  const ModelConfig config = tiny();
  const auto decode = [&](B& backend) {
    const LanguageModel<B> model(backend, config.text, RandomWeights::scope(1)["language_model"]);
    KvCache<B> kv = model.make_cache(backend, 600);
    const Tensor<B> logits(backend, {1, config.text.vocab}, DType::f32);
    const auto id = test::ids(backend, {5});
    Sampler sampler;
    std::vector<std::int32_t> tokens;
    for (int i = 0; i < 300; ++i) {
      model.step(backend, id, kv, logits);
      tokens.push_back(ops::sample(backend, id.view(), logits.view(), sampler));
    }
    return tokens;
  };
  CHECK(decode(be) == decode(plain));
  CHECK(be.recorded_steps() == 2);
  CHECK(be.replayed_steps() == 298);
  CHECK(plain.recorded_steps() == 0);
}

#endif

}  // namespace
