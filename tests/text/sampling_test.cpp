// Sampler and StopMatcher: each processing step on small examples with known results.
#include "pllava/text/sampling.hpp"

#include <array>
#include <cmath>
#include <limits>

#include "support/catch.hpp"

namespace {

using Catch::Matchers::Contains;
using pllava::ArgumentError;
using pllava::Sampler;
using pllava::SamplingOptions;
using pllava::StopMatcher;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::int32_t once(Sampler& sampler, std::vector<float> logits) {
  return sampler.sample(logits);
}

/// Counts how often samplers with different seeds draw each id from the same logits.
template <std::size_t N>
std::array<int, N> draws(SamplingOptions options, const std::array<float, N>& logits, int count) {
  std::array<int, N> histogram{};
  for (int i = 0; i < count; ++i) {
    options.seed = static_cast<std::uint64_t>(i);
    Sampler sampler(options);
    ++histogram.at(static_cast<std::size_t>(once(sampler, {logits.begin(), logits.end()})));
  }
  return histogram;
}

std::string refusal(SamplingOptions options) {
  try {
    Sampler{options};
  } catch (const ArgumentError& e) {
    return e.what();
  }
  return "accepted";
}

}  // namespace

TEST_CASE("greedy selects the largest logit, the lowest id among ties", "[sampling]") {
  Sampler greedy;
  CHECK(once(greedy, {0.5f, 2.0f, 2.0f, -1.0f}) == 1);
  CHECK(once(greedy, {-3.0f}) == 0);
  CHECK(once(greedy, {-kInfinity, -kInfinity, -5.0f}) == 2);
  CHECK(once(greedy, {0.0f, -0.0f}) == 0);
}

TEST_CASE("NaN and infinite logits are rejected with their index", "[sampling]") {
  Sampler sampler({.temperature = GENERATE(0.0f, 1.0f)});
  CHECK_THROWS_AS(once(sampler, {1, std::nanf(""), 2}), pllava::Error);
  CHECK_THROWS_WITH(once(sampler, {1, std::nanf(""), 2}), Contains("logit 1 of 3 is not a number"));
  CHECK_THROWS_WITH(once(sampler, {1, 2, kInfinity}), Contains("logit 2 of 3 is infinite"));
  CHECK_THROWS_WITH(once(sampler, {-kInfinity, -kInfinity}), Contains("no token to choose"));
  CHECK_THROWS_WITH(once(sampler, {}), Contains("no token to choose"));
  CHECK(once(sampler, {-kInfinity, 3}) == 1);  // the sampler is still usable
}

TEST_CASE("the repetition penalty lowers logits of either sign", "[sampling]") {
  Sampler sampler({.repetition_penalty = 2.0f});
  const std::vector<std::int32_t> prompt{0, 1, 32000, -1};  // ids without a logit are ignored
  sampler.observe(prompt);
  std::vector<float> logits{3.0f, -1.0f, 1.6f, -1.5f};
  CHECK(sampler.sample(logits) == 2);  // 3/2 < 1.6
  CHECK(logits == std::vector<float>{1.5f, -2.0f, 1.6f, -1.5f});
  logits = {0.0f, 0.0f, 1.0f, 0.6f};
  CHECK(sampler.sample(logits) == 3);  // the sampled token 2 is penalised

  Sampler below_one({.repetition_penalty = 0.5f});
  below_one.observe(prompt);
  CHECK(once(below_one, {3e38f, 0.0f}) == 0);  // clamped, no overflow
}

TEST_CASE("min_new_tokens suppresses end-of-sequence tokens", "[sampling]") {
  Sampler sampler({.min_new_tokens = 2}, {2, 7});
  const std::vector<float> logits{0, 1, 5, 0};
  CHECK(once(sampler, logits) == 1);
  CHECK(once(sampler, logits) == 1);
  CHECK(once(sampler, logits) == 2);
}

TEST_CASE("draws follow the softmax of logits / temperature", "[sampling]") {
  const std::array<float, 3> logits{0.0f, std::log(2.0f), std::log(5.0f)};
  const auto cool = draws({.temperature = 1.0f}, logits, 8000);
  CHECK(cool[0] == Approx(1000).margin(120));
  CHECK(cool[1] == Approx(2000).margin(160));
  CHECK(cool[2] == Approx(5000).margin(180));
  const auto warm = draws({.temperature = 1e6f}, logits, 3000);
  for (const int n : warm) CHECK(n == Approx(1000).margin(110));
  const auto cold = draws({.temperature = 1e-38f}, logits, 50);  // logit / t overflows a float
  CHECK(cold[2] == 50);
}

TEST_CASE("top_k keeps the k largest logits and ties", "[sampling]") {
  const std::array<float, 5> logits{1.0f, 3.0f, 2.0f, 2.0f, 0.0f};
  CHECK(draws({.temperature = 2, .top_k = 1}, logits, 200)[1] == 200);
  const auto two = draws({.temperature = 2, .top_k = 2}, logits, 400);
  CHECK(two[0] == 0);
  CHECK(two[2] > 0);
  CHECK(two[3] > 0);
  CHECK(two[4] == 0);
  CHECK(draws({.temperature = 2, .top_k = 99}, logits, 400)[4] > 0);
}

TEST_CASE("top_p keeps the smallest set that reaches the probability", "[sampling]") {
  const std::array<float, 4> logits{std::log(0.1f), std::log(0.5f), std::log(0.3f), std::log(0.1f)};
  CHECK(draws({.temperature = 1, .top_p = 0.4f}, logits, 200)[1] == 200);
  const auto p = draws({.temperature = 1, .top_p = 0.6f}, logits, 800);
  CHECK(p[0] + p[3] == 0);
  CHECK(p[1] == Approx(500).margin(60));
  CHECK(draws({.temperature = 1, .top_p = 1e-9f}, logits, 50)[1] == 50);
  const auto all = draws({.temperature = 1, .top_p = 1.0f}, logits, 800);
  CHECK(all[0] > 0);
  CHECK(all[3] > 0);
}

TEST_CASE("equal seeds give equal tokens", "[sampling]") {
  const auto run = [](std::uint64_t seed) {
    Sampler sampler({.temperature = 1, .seed = seed});
    std::vector<std::int32_t> ids;
    for (int i = 0; i < 12; ++i) ids.push_back(once(sampler, std::vector<float>(10, 0.0f)));
    return ids;
  };
  CHECK(run(7) == run(7));
  CHECK(run(7) != run(8));
  // SplitMix64 of seed 0 begins e220a8397b1dcdaf 6e789e6aa1b965f4 06c45d188009454f.
  const auto first = run(0);
  CHECK(first[0] == 8);
  CHECK(first[1] == 4);
  CHECK(first[2] == 0);
}

TEST_CASE("accept has the effect of sample", "[sampling]") {
  const SamplingOptions options{
      .temperature = 1, .repetition_penalty = 1.5f, .min_new_tokens = 2, .seed = 3};
  Sampler sampling(options, {1}), accepting(options, {1});
  for (const std::int32_t id : {4, 4, 0}) sampling.observe({&id, 1}), accepting.observe({&id, 1});
  for (int i = 0; i < 4; ++i) {
    const auto step = accepting.next();
    CHECK(step.uniform == sampling.next().uniform);
    CHECK(step.penalised.size() >= 2);
    CHECK(step.suppressed.size() == (i < 2 ? 1u : 0u));
    const std::int32_t id = once(sampling, {1, 2, 3, 2, 1});
    accepting.accept(id);
  }
  CHECK(sampling.next().penalised.size() == accepting.next().penalised.size());
  CHECK(Sampler().next().penalised.empty());
}

TEST_CASE("options out of range are rejected by name", "[sampling]") {
  const float nan = std::nanf("");
  CHECK(refusal({}) == "accepted");
  CHECK_THAT(refusal({.temperature = -0.1f}), Contains("temperature") && Contains("-0.1"));
  CHECK_THAT(refusal({.temperature = nan}), Contains("temperature"));
  CHECK_THAT(refusal({.temperature = kInfinity}), Contains("temperature"));
  CHECK_THAT(refusal({.top_k = -1}), Contains("top_k"));
  CHECK_THAT(refusal({.top_p = 0}), Contains("top_p"));
  CHECK_THAT(refusal({.top_p = 1.1f}), Contains("top_p"));
  CHECK_THAT(refusal({.top_p = nan}), Contains("top_p"));
  CHECK_THAT(refusal({.repetition_penalty = 0}), Contains("repetition_penalty"));
  CHECK_THAT(refusal({.repetition_penalty = nan}), Contains("repetition_penalty"));
  CHECK_THAT(refusal({.min_new_tokens = -1}), Contains("min_new_tokens"));
}

TEST_CASE("a stop string is found across pieces and not output", "[sampling]") {
  StopMatcher stop({"###", "USER:"});
  CHECK(stop.push("He cooks. #").text == "He cooks. ");
  CHECK(stop.push("1 and ##").text == "#1 and ");
  CHECK(stop.push(" x U").text == "## x ");
  CHECK(stop.push("S").text.empty());
  CHECK(stop.push("A US").text == "USA ");
  const auto hit = stop.push("ER: more");
  CHECK(hit.stopped);
  CHECK(hit.text.empty());
  CHECK(stop.push("again").stopped);
  CHECK(stop.push("again").text.empty());
  CHECK(stop.flush().empty());
}

TEST_CASE("flush returns the buffered text", "[sampling]") {
  StopMatcher stop({"###"});
  CHECK(stop.push("a##").text == "a");
  CHECK(stop.flush() == "##");
  CHECK(stop.push("#").text.empty());  // flushed text does not match again
  CHECK(stop.flush() == "#");
}

TEST_CASE("the first match in the text determines the end", "[sampling]") {
  StopMatcher stop({"later", "soon"});
  const auto hit = stop.push("x soon and later");
  CHECK(hit.stopped);
  CHECK(hit.text == "x ");
  StopMatcher overlapping({"aab", "ba"});
  CHECK(overlapping.push("aa").text.empty());
  CHECK(overlapping.push("aa").text == "aa");  // "aa" may still become "aab"
  CHECK(overlapping.push("b").stopped);
}

TEST_CASE("without stop strings text is not buffered", "[sampling]") {
  StopMatcher none;
  CHECK(none.push("abc").text == "abc");
  CHECK_THROWS_AS(StopMatcher({"a", ""}), ArgumentError);
}
