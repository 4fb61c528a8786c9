// Bodies of sampling.hpp.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "pllava/text/sampling.hpp"

namespace pllava {

PLLAVA_INLINE void SamplingOptions::validate() const {
  const auto require = [](bool ok, const char* what, auto got) {
    if (!ok) throw ArgumentError(std::string(what) + ", not " + std::to_string(got));
  };
  require(std::isfinite(temperature) && temperature >= 0, "temperature must be 0 or more",
          temperature);
  require(top_k >= 0, "top_k must be 0 (off) or more", top_k);
  require(top_p > 0 && top_p <= 1, "top_p must be above 0 and at most 1", top_p);
  require(std::isfinite(repetition_penalty) && repetition_penalty > 0,
          "repetition_penalty must be above 0", repetition_penalty);
  require(min_new_tokens >= 0, "min_new_tokens must be 0 or more", min_new_tokens);
}

PLLAVA_INLINE Sampler::Sampler(SamplingOptions options, std::vector<std::int32_t> eos)
    : options_(options), eos_(std::move(eos)), state_(options.seed) {
  options_.validate();
}

PLLAVA_INLINE void Sampler::observe(std::span<const std::int32_t> ids) {
  for (const std::int32_t id : ids) {
    if (id < 0) continue;
    const auto i = static_cast<std::size_t>(id);
    if (i >= seen_.size()) seen_.resize(i + 1);
    if (!seen_[i]) seen_ids_.push_back(id);
    seen_[i] = true;
  }
}

PLLAVA_INLINE std::int32_t Sampler::sample(std::span<float> logits) {
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (std::isnan(logits[i]) || logits[i] == std::numeric_limits<float>::infinity()) {
      throw Error("logit " + std::to_string(i) + " of " + std::to_string(logits.size()) + " is " +
                  (std::isnan(logits[i]) ? "not a number" : "infinite") +
                  ": the weights or the input are damaged, or the number format overflowed");
    }
  }
  const Step step = next();
  const auto with_logit = [&](std::int32_t id) {
    return id >= 0 && static_cast<std::size_t>(id) < logits.size();
  };
  constexpr float max_logit = std::numeric_limits<float>::max();
  constexpr float minus_infinity = -std::numeric_limits<float>::infinity();
  for (const std::int32_t id : step.penalised) {
    if (!with_logit(id)) continue;
    float& logit = logits[static_cast<std::size_t>(id)];
    const float penalty = options_.repetition_penalty;
    logit = std::min(logit < 0 ? logit * penalty : logit / penalty,
                     max_logit);  // avoids an overflow to infinity
  }
  for (const std::int32_t id : step.suppressed)
    if (with_logit(id)) logits[static_cast<std::size_t>(id)] = minus_infinity;
  const auto best = std::max_element(logits.begin(), logits.end());
  if (best == logits.end() || *best == minus_infinity) {
    throw Error("no token to choose: all of " + std::to_string(logits.size()) +
                " logits are minus infinity");
  }
  const std::int32_t id = options_.temperature == 0.0f
                              ? static_cast<std::int32_t>(best - logits.begin())
                              : draw(logits, step.uniform);
  accept(id);
  return id;
}

PLLAVA_INLINE Sampler::Step Sampler::next() const noexcept {
  Step step = {};
  if (options_.repetition_penalty != 1.0f) step.penalised = seen_ids_;
  if (num_sampled_ < options_.min_new_tokens) step.suppressed = eos_;
  std::uint64_t z = state_ + kGamma;  // SplitMix64
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  z ^= z >> 31;
  step.uniform = static_cast<double>(z >> 11) * 0x1p-53;
  return step;
}

PLLAVA_INLINE void Sampler::accept(std::int32_t id) {
  observe({&id, 1});
  ++num_sampled_;
  state_ += kGamma;
}

PLLAVA_INLINE std::int32_t Sampler::draw(std::span<const float> logits, double uniform) const {
  // In double, because logit / temperature may overflow a float.
  using Candidate = std::pair<double, std::int32_t>;
  const auto precedes = [](const Candidate& a, const Candidate& b) {
    return a.first != b.first ? a.first > b.first : a.second < b.second;
  };
  std::vector<Candidate> candidates;
  candidates.reserve(logits.size());
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (std::isinf(logits[i])) continue;
    candidates.emplace_back(double{logits[i]} / options_.temperature, static_cast<std::int32_t>(i));
  }
  const auto k = static_cast<std::size_t>(options_.top_k);
  if (k > 0 && k < candidates.size()) {
    const auto kth = candidates.begin() + (options_.top_k - 1);
    std::nth_element(candidates.begin(), kth, candidates.end(), precedes);
    const double threshold = kth->first;
    std::erase_if(candidates, [&](const Candidate& c) { return c.first < threshold; });
  }
  std::sort(candidates.begin(), candidates.end(), precedes);

  double sum = 0;
  const double max_scaled = candidates.front().first;
  for (Candidate& c : candidates) sum += c.first = std::exp(c.first - max_scaled);
  // Keep a token if the tokens with larger logits do not reach top_p.
  double kept = 0;
  std::size_t count = 0;
  while (count < candidates.size() && (count == 0 || kept < options_.top_p * sum)) {
    kept += candidates[count++].first;
  }
  double rest = uniform * kept;  // invert the cumulative distribution
  std::size_t chosen = 0;
  while (chosen + 1 < count && rest >= candidates[chosen].first) {
    rest -= candidates[chosen++].first;
  }
  return candidates[chosen].second;
}

PLLAVA_INLINE StopMatcher::StopMatcher(std::vector<std::string> stops) : stops_(std::move(stops)) {
  for (const std::string& stop : stops_) {
    if (stop.empty()) throw ArgumentError("a stop string must not be empty");
  }
}

PLLAVA_INLINE StopMatcher::Result StopMatcher::push(std::string_view piece) {
  if (stopped_) return {"", true};
  buffered_ += piece;
  std::size_t found = std::string::npos;
  for (const std::string& stop : stops_) found = std::min(found, buffered_.find(stop));
  if (found != std::string::npos) {
    stopped_ = true;
    buffered_.resize(found);
    return {std::exchange(buffered_, {}), true};
  }
  // Buffer the longest suffix that is the start of a stop string.
  std::size_t safe = buffered_.size();
  for (const std::string& stop : stops_) {
    for (std::size_t n = std::min(stop.size() - 1, buffered_.size()); n > buffered_.size() - safe;
         --n) {
      if (std::string_view(buffered_).ends_with(std::string_view(stop).substr(0, n))) {
        safe = buffered_.size() - n;
        break;
      }
    }
  }
  std::string text = buffered_.substr(0, safe);
  buffered_.erase(0, safe);
  return {std::move(text), false};
}

PLLAVA_INLINE std::string StopMatcher::flush() {
  return std::exchange(buffered_, {});
}

}  // namespace pllava
