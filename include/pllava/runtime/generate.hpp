// Options of a question, and its answer.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "pllava/core/control.hpp"
#include "pllava/text/sampling.hpp"

namespace pllava {

struct GenerateOptions {
  Index max_new_tokens = 200;
  SamplingOptions sampling = {};
  std::vector<std::string> stop = {};  ///< the answer ends before the first of these
  /// Added tokens in the question, such as `</s>`, become control tokens, as in the reference, and
  /// `<image>` is a PromptError; off: they are text.
  bool parse_special = false;
  bool first_logits = false;  ///< keep the logits of the first new token in the answer
  RunControl control = {};
};

/// Receives pieces of the answer as whole UTF-8 characters; they concatenate to Answer::text.
/// Returning false stops generation, and the callback is not called again.
using PieceCallback = std::function<bool(std::string_view piece)>;

enum class FinishReason : std::uint8_t {
  end_of_sequence,
  length,  ///< max_new_tokens or the capacity of the KV cache was reached
  stop_string,
  callback,
};

constexpr std::string_view name_of(FinishReason r) noexcept {
  switch (r) {
    case FinishReason::end_of_sequence: return "eos";
    case FinishReason::length: return "length";
    case FinishReason::stop_string: return "stop";
    case FinishReason::callback: return "callback";
  }
  return "?";
}

struct Answer {
  std::string text;                      ///< trimmed, without special tokens and stop strings
  std::string prompt;                    ///< text of the whole conversation before the answer
  std::vector<std::int32_t> prompt_ids;  ///< everything before the answer; the video is one id
  std::vector<std::int32_t> output_ids;  ///< generated ids, with end of sequence and stop string
  FinishReason finish_reason = FinishReason::length;
  std::vector<float> first_logits = {};  ///< (V), if requested
  double prefill_ms = 0;                 ///< prefill of the tokens of this question
  double generate_ms = 0;                ///< sampling, decode and callbacks after the prefill
};

}  // namespace pllava
