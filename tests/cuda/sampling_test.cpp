// The sampling kernel on the executor, compared with Sampler: equal ids for all options.
#include "pllava/text/sampling.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "launch.hpp"
#include "support/catch.hpp"
#include "support/simt.hpp"

namespace {

using namespace pllava;
using Logits = std::vector<float>;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// The id that the kernel chooses; -1 for none.
std::int32_t choose(const SamplingOptions& options, const Sampler::Step& step, Logits logits) {
  std::vector<std::int32_t> ids(step.penalised.begin(), step.penalised.end());
  ids.insert(ids.end(), step.suppressed.begin(), step.suppressed.end());
  std::vector<std::uint64_t> candidates(logits.size());
  cuda::kernels::Sampling call;
  call.ids = ids.data();
  call.num_penalized = static_cast<int>(step.penalised.size());
  call.num_excluded = static_cast<int>(step.suppressed.size());
  call.penalty = options.repetition_penalty;
  call.temperature = options.temperature;
  call.top_k = static_cast<int>(options.top_k);
  call.top_p = options.top_p;
  call.uniform = step.uniform;
  std::int32_t id = -7;
  REQUIRE(cuda::kernels::sample(&id, logits.data(), static_cast<int>(logits.size()), call,
                                candidates.data(), nullptr) == 0);
  return id;
}

/// The next token by the kernel. The sampler does not advance.
std::int32_t on_device(const Sampler& sampler, const Logits& logits) {
  return choose(sampler.options(), sampler.next(), logits);
}

std::int32_t on_host(Sampler& sampler, Logits logits) {
  try {
    return sampler.sample(logits);
  } catch (const Error&) {
    return -1;
  }
}

/// Random options and logits that cover every branch of Sampler.
struct RandomCases {
  std::mt19937 random;

  template <class T, std::size_t N>
  T one_of(const T (&values)[N]) {
    return values[random() % N];
  }
  int below(int end) { return static_cast<int>(random() % static_cast<unsigned>(end)); }

  SamplingOptions options() {
    SamplingOptions o;
    o.temperature = one_of({0.0f, 1e-38f, 0.05f, 0.7f, 1.0f, 1.0f, 3.0f, 1e6f});
    o.top_k = one_of({0, 0, 1, 2, 5, 40, 1000});
    o.top_p = one_of({1.0f, 1.0f, 1e-9f, 0.1f, 0.5f, 0.9f, 0.99f, 0.99999994f});
    o.repetition_penalty = one_of({1.0f, 1.0f, 1.3f, 0.5f, 1e30f});
    o.min_new_tokens = one_of({0, 0, 1, 2});
    o.seed = random();
    return o;
  }

  Logits logits(int count) {
    std::normal_distribution<float> normal(0, one_of({0.1f, 2.0f, 9.0f}));
    const int kind = below(5);
    const bool partly_excluded = below(4) == 0;
    Logits logits(static_cast<std::size_t>(count));
    for (float& x : logits) {
      x = normal(random);
      if (kind == 0) x = std::round(x);          // many ties
      if (kind == 1) x = one_of({-0.0f, 0.0f});  // only ties
      if (kind == 2 && below(8) == 0) x = one_of({3e38f, -3e38f, 1e-45f, -1e-45f});
      if (partly_excluded && below(3) == 0) x = -kInfinity;
    }
    if (below(20) == 0) logits[random() % logits.size()] = one_of({kInfinity, std::nanf("")});
    if (below(20) == 0) std::fill(logits.begin(), logits.end(), -kInfinity);
    return logits;
  }
};

void check_cases(unsigned seed, int cases) {
  RandomCases source{std::mt19937(seed)};
  for (int i = 0; i < cases; ++i) {
    const int count = source.one_of({1, 2, 3, 5, 16, 31, 33, 100, 511, 513, 1200});
    const SamplingOptions options = source.options();
    Sampler sampler(options, {source.below(count), -1, count, source.below(count)});
    std::vector<std::int32_t> prompt = {-1, count};
    for (int n = source.below(6); n > 0; --n) prompt.push_back(source.below(count));
    sampler.observe(prompt);
    INFO("seed " << seed << " case " << i << " count " << count << " temperature "
                 << options.temperature << " top_k " << options.top_k << " top_p " << options.top_p
                 << " penalty " << options.repetition_penalty);
    for (int token = 0; token < 3; ++token) {
      const Logits logits = source.logits(count);
      const std::int32_t chosen = on_device(sampler, logits);
      REQUIRE(chosen == on_host(sampler, logits));
    }
  }
}

TEST_CASE("sample chooses the same tokens as Sampler", "[cuda][sampling]") {
  check_cases(1, 1000);
}

TEST_CASE("sample does not depend on the order of threads", "[cuda][sampling]") {
  simt::order = simt::Order::descending;
  check_cases(2, 200);
  simt::order = simt::Order::ascending;
}

TEST_CASE("sample matches Sampler on whole vocabularies", "[cuda][sampling]") {
  RandomCases source{std::mt19937(3)};
  for (const int count : {32'000, 151'937}) {
    std::normal_distribution<float> normal(0, 3);
    Logits logits(static_cast<std::size_t>(count));
    for (float& x : logits) x = normal(source.random);
    for (const SamplingOptions& options :
         {SamplingOptions{}, SamplingOptions{.temperature = 1},
          SamplingOptions{.temperature = 0.7f, .top_k = 50, .top_p = 0.9f},
          SamplingOptions{.temperature = 2, .top_p = 0.95f, .repetition_penalty = 1.2f}}) {
      Sampler sampler(options);
      for (int token = 0; token < 3; ++token) {
        const std::int32_t chosen = on_device(sampler, logits);
        REQUIRE(chosen == on_host(sampler, logits));
      }
    }
  }
}

TEST_CASE("sample takes the second token if the draw is on a boundary", "[cuda][sampling]") {
  const auto draw = [](double uniform, float top_p) {
    return choose({.temperature = 1, .top_p = top_p}, {{}, {}, uniform}, {5, 5, 5, 5});
  };
  CHECK(draw(0, 1) == 0);
  CHECK(draw(0.25, 1) == 1);
  CHECK(draw(0.5, 1) == 2);
  CHECK(draw(0.75, 1) == 3);
  CHECK(draw(1 - 0x1p-53, 1) == 3);
  CHECK(draw(0.5, 0.5f) == 1);  // two tokens reach 0.5, so the third is dropped
  CHECK(draw(1 - 0x1p-53, 0.5f) == 1);
  CHECK(draw(1 - 0x1p-53, 0.6f) == 2);
}

TEST_CASE("sample returns -1 for invalid logits and if no token can be chosen",
          "[cuda][sampling]") {
  const Sampler greedy, random({.temperature = 1}), suppressing({.min_new_tokens = 1}, {0, 1});
  for (const Sampler& sampler : {greedy, random}) {
    CHECK(on_device(sampler, {}) == -1);
    CHECK(on_device(sampler, {-kInfinity}) == -1);
    CHECK(on_device(sampler, {1, -std::nanf(""), 2}) == -1);
    CHECK(on_device(sampler, {1, kInfinity}) == -1);
    CHECK(on_device(sampler, {-kInfinity, 3}) == 1);
  }
  CHECK(on_device(suppressing, {3, 4}) == -1);
  CHECK(on_device(suppressing, {3, kInfinity, 1}) == -1);  // suppressed, and still invalid
  Sampler favoring({.repetition_penalty = 0.5f});
  favoring.observe(std::vector<std::int32_t>{0});
  CHECK(on_device(favoring, {3e38f, 0}) == 0);  // does not overflow to infinity
  CHECK(on_device(favoring, {kInfinity, 0}) == -1);
}

}  // namespace
