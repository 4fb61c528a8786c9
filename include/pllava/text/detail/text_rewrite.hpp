// Application of TextRewrite steps.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "pllava/error.hpp"
#include "pllava/text/tokenizer_parts.hpp"

namespace pllava::detail {

/// Throws PromptError if the result has more than `max_bytes`.
inline std::string rewrite(std::string text, const TextRewrite& step, std::size_t max_bytes) {
  const auto check = [&](std::size_t bytes) {
    if (bytes > max_bytes)
      throw PromptError("the normalizer of the tokenizer grows a text to more than " +
                        std::to_string(max_bytes) + " bytes");
  };
  if (step.from.empty()) {
    check(text.size() + step.to.size());
    return text.empty() ? text : step.to + text;
  }
  std::string result;
  std::size_t done = 0;
  for (std::size_t at; (at = text.find(step.from, done)) != std::string::npos;
       done = at + step.from.size()) {
    result.append(text, done, at - done).append(step.to);
    check(result.size());
  }
  return result.append(text, done);
}

/// Applies the steps in order. Throws PromptError if the text grows to more than 64 times its
/// length plus 64 KiB: steps of a hostile file could double it many times.
inline std::string rewrite(std::string text, const std::vector<TextRewrite>& steps) {
  const std::size_t max_bytes = 64 * text.size() + 65536;
  for (const TextRewrite& step : steps) text = rewrite(std::move(text), step, max_bytes);
  return text;
}

}  // namespace pllava::detail
