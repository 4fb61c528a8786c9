// Sampling of the next token, and stop strings (reference section 8.1). The defaults are those of
// the reference's published results: greedy, without penalties.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "pllava/config.hpp"
#include "pllava/error.hpp"

namespace pllava {

/// Options of Sampler.
struct SamplingOptions {
  float temperature = 0.0f;  ///< divides the logits; 0: greedy
  Index top_k = 0;           ///< keep the k largest logits and ties; 0: all. transformers: 50
  float top_p = 1.0f;        ///< keep the smallest set of tokens that reaches this probability
  float repetition_penalty = 1.0f;  ///< above 1: tokens of prompt and answer are less likely
  Index min_new_tokens = 0;         ///< suppress end-of-sequence tokens before this length
  std::uint64_t seed = 0;

  /// Throws ArgumentError naming the option that is out of range.
  void validate() const;
};

/// Samples the tokens of one generation. Not thread-safe. Equal seeds and logits give equal tokens
/// on every platform: random numbers come from SplitMix64, and sums are in double precision in a
/// fixed order.
class Sampler {
 public:
  /// `eos`: the ids that `min_new_tokens` suppresses. Throws ArgumentError for invalid options.
  explicit Sampler(SamplingOptions options = {}, std::vector<std::int32_t> eos = {});

  const SamplingOptions& options() const noexcept { return options_; }

  /// Marks tokens of the prompt for the repetition penalty. Ids outside the vocabulary, such as the
  /// video token, are ignored by sample().
  void observe(std::span<const std::int32_t> ids);

  /// Samples the next token from its logits (V), which are modified in place: repetition penalty,
  /// minimum length, temperature, top_k, top_p, random draw. With temperature 0: the largest logit
  /// after the first two steps, the lowest id among ties. The token is observed. Throws Error if
  /// the logits are empty, contain NaN or +infinity, or are all -infinity.
  std::int32_t sample(std::span<float> logits);

  /// The inputs of the next sample() other than options and logits. A backend that samples on its
  /// device uses them, and reports the token with accept().
  struct Step {
    // Both lists may contain ids without a logit.
    std::span<const std::int32_t> penalised;   ///< for the repetition penalty; no duplicates
    std::span<const std::int32_t> suppressed;  ///< their logits become -infinity
    double uniform;                            ///< random number of the draw, in [0, 1)
  };
  Step next() const noexcept;
  /// Records a token that a backend sampled: as sampled and observed.
  void accept(std::int32_t id);

 private:
  std::int32_t draw(std::span<const float> logits, double uniform) const;

  SamplingOptions options_;
  std::vector<std::int32_t> eos_;
  std::vector<bool> seen_;              // indexed by id
  std::vector<std::int32_t> seen_ids_;  // the ids that are set in seen_
  Index num_sampled_ = 0;
  std::uint64_t state_;  // of SplitMix64; each step adds kGamma
  static constexpr std::uint64_t kGamma = 0x9e3779b97f4a7c15u;
};

/// Searches streamed text for stop strings. The first match ends the text and is not part of it.
/// This differs from the reference, whose criterion requires all keywords and outputs them.
class StopMatcher {
 public:
  struct Result {
    std::string text;      ///< text that is not part of a stop string
    bool stopped = false;  ///< a stop string was found; `text` is the text before it
  };

  /// Throws ArgumentError for an empty stop string.
  explicit StopMatcher(std::vector<std::string> stops = {});

  /// Appends a piece of text. After a stop, returns {"", true}.
  Result push(std::string_view piece);
  /// The buffered text, at the end of the stream. Empty after a stop.
  std::string flush();

 private:
  std::vector<std::string> stops_;
  std::string buffered_;  // may be the start of a stop string
  bool stopped_ = false;
};

}  // namespace pllava

#ifndef PLLAVA_COMPILED
#include "pllava/text/detail/sampling_inl.hpp"
#endif
