// From logits to the next token, and when to stop (reference section 8.1). All published results of
// the reference are greedy with every penalty neutral: the defaults here.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "pllava/config.hpp"
#include "pllava/error.hpp"

namespace pllava {

/// How a token is chosen.
struct SamplingOptions {
  float temperature = 0.0f;         ///< 0: the likeliest token; otherwise logits are divided by it
  Index top_k = 0;                  ///< keep the k likeliest (and ties); 0: all. transformers: 50
  float top_p = 1.0f;               ///< keep the likeliest that together reach this probability
  float repetition_penalty = 1.0f;  ///< above 1 makes tokens of prompt and answer less likely
  Index min_new_tokens = 0;         ///< no end-of-sequence token before this many
  std::uint64_t seed = 0;

  /// Throws ArgumentError naming the option that makes no sense.
  void validate() const;
};

/// Chooses tokens one after the other. Belongs to one generation and one thread at a time.
/// Equal seeds and logits give equal tokens on every platform: the random numbers are SplitMix64's
/// and sums run in a fixed order, in double precision.
class Sampler {
 public:
  /// `eos`: the ids that `min_new_tokens` holds off. Throws ArgumentError for invalid options.
  explicit Sampler(SamplingOptions options = {}, std::vector<std::int32_t> eos = {});

  const SamplingOptions& options() const noexcept { return options_; }

  /// Tokens the repetition penalty shall know of: the prompt's. Ids outside the vocabulary, such as
  /// the video's, have no logit and are left alone.
  void observe(std::span<const std::int32_t> ids);

  /// The next token from its logits (V), which are changed in place: repetition penalty, minimum
  /// length, temperature, top_k, top_p, then a draw. With temperature 0, the largest logit after
  /// the first two steps, the lowest id among equals. The token counts as observed. Throws Error if
  /// the logits are empty, contain NaN or +infinity, or exclude every token.
  std::int32_t sample(std::span<float> logits);

  /// What the next token depends on beside options and logits. A backend may choose it where the
  /// logits are, as `sample` would, and say so with `accept`.
  struct Step {
    std::span<const std::int32_t> penalised;   ///< for repetition, each once; not all have a logit
    std::span<const std::int32_t> suppressed;  ///< held off; not all have a logit
    double uniform;                            ///< where the draw falls, in [0, 1)
  };
  Step next() const noexcept;
  /// Counts a token that was chosen elsewhere as sampled and observed.
  void accept(std::int32_t id);

 private:
  std::int32_t draw(std::span<const float> logits, double uniform) const;

  SamplingOptions options_;
  std::vector<std::int32_t> eos_;
  std::vector<bool> seen_;               // indexed by id
  std::vector<std::int32_t> seen_once_;  // the ids that are set in seen_
  Index sampled_ = 0;
  std::uint64_t state_;  // of SplitMix64, which kGamma moves on
  static constexpr std::uint64_t kGamma = 0x9e3779b97f4a7c15u;
};

/// Watches streamed text for stop strings. Any one of them stops, and none is ever shown. (The
/// reference's keyword criterion waits for ALL keywords and shows them, so it practically never
/// fires; it is not imitated.)
class StopMatcher {
 public:
  struct Result {
    std::string text;      ///< certain not to belong to a stop string
    bool stopped = false;  ///< a stop string was found; `text` is what preceded it
  };

  /// Throws ArgumentError for an empty stop string.
  explicit StopMatcher(std::vector<std::string> stops = {});

  /// Takes the next piece of text. After a stop, returns {"", true}.
  Result push(std::string_view piece);
  /// What was held back, when no more text comes. Empty after a stop.
  std::string flush();

 private:
  std::vector<std::string> stops_;
  std::string held_;  // may be the beginning of a stop string
  bool stopped_ = false;
};

}  // namespace pllava

#ifndef PLLAVA_COMPILED
#include "pllava/text/detail/sampling_inl.hpp"
#endif
