// Sampler and StopMatcher: each step of the logits' way on numbers small enough to check by hand.
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

/// How often each id is drawn from the same logits, by samplers of different seeds.
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

TEST_CASE("greedy takes the largest logit, the lowest id among equals", "[sampling]") {
  Sampler greedy;
  CHECK(once(greedy, {0.5f, 2.0f, 2.0f, -1.0f}) == 1);
  CHECK(once(greedy, {-3.0f}) == 0);
  CHECK(once(greedy, {-kInfinity, -kInfinity, -5.0f}) == 2);
  CHECK(once(greedy, {0.0f, -0.0f}) == 0);
}

TEST_CASE("damaged logits are refused with their place", "[sampling]") {
  Sampler sampler({.temperature = GENERATE(0.0f, 1.0f)});
  CHECK_THROWS_AS(once(sampler, {1, std::nanf(""), 2}), pllava::Error);
  CHECK_THROWS_WITH(once(sampler, {1, std::nanf(""), 2}), Contains("logit 1 of 3 is not a number"));
  CHECK_THROWS_WITH(once(sampler, {1, 2, kInfinity}), Contains("logit 2 of 3 is infinite"));
  CHECK_THROWS_WITH(once(sampler, {-kInfinity, -kInfinity}), Contains("no token to choose"));
  CHECK_THROWS_WITH(once(sampler, {}), Contains("no token to choose"));
  CHECK(once(sampler, {-kInfinity, 3}) == 1);  // and the sampler is still usable
}

TEST_CASE("the repetition penalty lowers seen tokens, whatever their sign", "[sampling]") {
  Sampler sampler({.repetition_penalty = 2.0f});
  const std::vector<std::int32_t> prompt{0, 1, 32000, -1};  // ids without a logit do no harm
  sampler.observe(prompt);
  std::vector<float> logits{3.0f, -1.0f, 1.6f, -1.5f};
  CHECK(sampler.sample(logits) == 2);  // 3/2 < 1.6
  CHECK(logits == std::vector<float>{1.5f, -2.0f, 1.6f, -1.5f});
  logits = {0.0f, 0.0f, 1.0f, 0.6f};
  CHECK(sampler.sample(logits) == 3);  // its own token 2 counts as seen

  Sampler fond({.repetition_penalty = 0.5f});
  fond.observe(prompt);
  CHECK(once(fond, {3e38f, 0.0f}) == 0);  // does not overflow into an error
}

TEST_CASE("no end of sequence before the minimum length", "[sampling]") {
  Sampler sampler({.min_new_tokens = 2}, {2, 7});
  const std::vector<float> logits{0, 1, 5, 0};
  CHECK(once(sampler, logits) == 1);
  CHECK(once(sampler, logits) == 1);
  CHECK(once(sampler, logits) == 2);
}

TEST_CASE("draws follow the softmax of the logits over the temperature", "[sampling]") {
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

TEST_CASE("top_k keeps the likeliest and what ties with the last", "[sampling]") {
  const std::array<float, 5> logits{1.0f, 3.0f, 2.0f, 2.0f, 0.0f};
  CHECK(draws({.temperature = 2, .top_k = 1}, logits, 200)[1] == 200);
  const auto two = draws({.temperature = 2, .top_k = 2}, logits, 400);
  CHECK(two[0] == 0);
  CHECK(two[2] > 0);
  CHECK(two[3] > 0);
  CHECK(two[4] == 0);
  CHECK(draws({.temperature = 2, .top_k = 99}, logits, 400)[4] > 0);
}

TEST_CASE("top_p keeps the smallest set that reaches it", "[sampling]") {
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

TEST_CASE("a seed fixes the tokens", "[sampling]") {
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

TEST_CASE("a token chosen elsewhere counts like one's own", "[sampling]") {
  const SamplingOptions options{
      .temperature = 1, .repetition_penalty = 1.5f, .min_new_tokens = 2, .seed = 3};
  Sampler own(options, {1}), told(options, {1});
  for (const std::int32_t id : {4, 4, 0}) own.observe({&id, 1}), told.observe({&id, 1});
  for (int i = 0; i < 4; ++i) {
    const auto step = told.next();
    CHECK(step.uniform == own.next().uniform);
    CHECK(step.penalised.size() >= 2);
    CHECK(step.suppressed.size() == (i < 2 ? 1u : 0u));
    const std::int32_t id = once(own, {1, 2, 3, 2, 1});
    told.accept(id);
  }
  CHECK(own.next().penalised.size() == told.next().penalised.size());
  CHECK(Sampler().next().penalised.empty());
}

TEST_CASE("options without sense are refused by name", "[sampling]") {
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

TEST_CASE("a stop string is found across pieces and never shown", "[sampling]") {
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

TEST_CASE("what was held back comes out at the end", "[sampling]") {
  StopMatcher stop({"###"});
  CHECK(stop.push("a##").text == "a");
  CHECK(stop.flush() == "##");
  CHECK(stop.push("#").text.empty());  // what was flushed no longer counts
  CHECK(stop.flush() == "#");
}

TEST_CASE("of several stop strings the first in the text wins", "[sampling]") {
  StopMatcher stop({"later", "soon"});
  const auto hit = stop.push("x soon and later");
  CHECK(hit.stopped);
  CHECK(hit.text == "x ");
  StopMatcher overlapping({"aab", "ba"});
  CHECK(overlapping.push("aa").text.empty());
  CHECK(overlapping.push("aa").text == "aa");  // "aa" may still become "aab"
  CHECK(overlapping.push("b").stopped);
}

TEST_CASE("without stop strings all text passes at once", "[sampling]") {
  StopMatcher none;
  CHECK(none.push("abc").text == "abc");
  CHECK_THROWS_AS(StopMatcher({"a", ""}), ArgumentError);
}
