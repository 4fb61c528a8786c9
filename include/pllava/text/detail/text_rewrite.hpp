// Application of TextRewrite steps.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "pllava/error.hpp"
#include "pllava/text/tokenizer_parts.hpp"

namespace pllava::detail {

/// `marks`, if not null, has a mark for each byte of the text before, and of the result after; what
/// replaces a text with a mark is marked. Throws PromptError if the result has more than
/// `max_bytes`.
inline std::string rewrite(std::string text, const TextRewrite& step, std::size_t max_bytes,
                           std::vector<bool>* marks) {
  const auto check = [&](std::size_t bytes) {
    if (bytes > max_bytes)
      throw PromptError("the normalizer of the tokenizer grows a text to more than " +
                        std::to_string(max_bytes) + " bytes");
  };
  if (step.from.empty()) {
    check(text.size() + step.to.size());
    if (text.empty()) return text;
    if (marks) marks->insert(marks->begin(), step.to.size(), false);
    return step.to + text;
  }
  std::string result;
  std::vector<bool> result_marks;
  std::size_t done = 0;
  const auto copy_marks = [&](std::size_t end) {
    if (marks)
      result_marks.insert(result_marks.end(), marks->begin() + static_cast<std::ptrdiff_t>(done),
                          marks->begin() + static_cast<std::ptrdiff_t>(end));
  };
  for (std::size_t at; (at = text.find(step.from, done)) != std::string::npos;
       done = at + step.from.size()) {
    copy_marks(at);
    result.append(text, done, at - done).append(step.to);
    check(result.size());
    if (marks) {
      const auto from = marks->begin() + static_cast<std::ptrdiff_t>(at);
      const auto end = from + static_cast<std::ptrdiff_t>(step.from.size());
      result_marks.resize(result.size(), std::find(from, end, true) != end);
    }
  }
  copy_marks(text.size());
  if (marks) *marks = std::move(result_marks);
  return result.append(text, done);
}

/// Applies the steps in order. Throws PromptError if the text grows to more than 64 times its
/// length plus 64 KiB: steps of a hostile file could double it many times.
inline std::string rewrite(std::string text, const std::vector<TextRewrite>& steps,
                           std::vector<bool>* marks = nullptr) {
  const std::size_t max_bytes = 64 * text.size() + 65536;
  for (const TextRewrite& step : steps) text = rewrite(std::move(text), step, max_bytes, marks);
  return text;
}

}  // namespace pllava::detail
