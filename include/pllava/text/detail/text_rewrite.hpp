// Application of TextRewrite steps.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "pllava/text/tokenizer_parts.hpp"

namespace pllava::detail {

inline std::string rewrite(std::string text, const TextRewrite& step) {
  if (step.from.empty()) return text.empty() ? text : step.to + text;
  std::string result;
  std::size_t done = 0;
  for (std::size_t at; (at = text.find(step.from, done)) != std::string::npos;
       done = at + step.from.size()) {
    result.append(text, done, at - done).append(step.to);
  }
  return result.append(text, done);
}

/// Applies the steps in order.
inline std::string rewrite(std::string text, const std::vector<TextRewrite>& steps) {
  for (const TextRewrite& step : steps) text = rewrite(std::move(text), step);
  return text;
}

}  // namespace pllava::detail
