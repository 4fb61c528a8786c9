// Splitting of a text into words before byte-level BPE: hand-written matchers of published regular
// expressions, in linear time.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

#include "pllava/text/detail/unicode_data.hpp"
#include "pllava/text/detail/utf8.hpp"
#include "pllava/text/tokenizer_parts.hpp"

namespace pllava::detail {

/// The regular expressions of WordSplit; nullopt for another one.
inline std::optional<WordSplit> word_split_of(std::string_view regex) noexcept {
  if (regex == R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)") {
    return WordSplit::gpt2;
  }
  if (regex ==
      R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)") {
    return WordSplit::llama3;
  }
  if (regex ==
      R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)") {
    return WordSplit::qwen2;
  }
  return std::nullopt;
}

/// Yields the words of valid UTF-8 text in order. They are not empty and concatenate to the text.
class WordSplitter {
 public:
  WordSplitter(std::string_view text, WordSplit rule) noexcept : text_(text), rule_(rule) {}

  /// The next word; empty at the end.
  std::string_view next() noexcept {
    const std::size_t begin = at_;
    if (begin < text_.size()) at_ = word_end(begin);
    return text_.substr(begin, at_ - begin);
  }

 private:
  enum class Kind { letter, number, space, other, end };

  static Kind kind_of(char32_t c) noexcept {
    if (c < 0x80) {
      if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) return Kind::letter;
      if (c >= '0' && c <= '9') return Kind::number;
      return is_white_space(c) ? Kind::space : Kind::other;
    }
    if (find_range(kLetters, c)) return Kind::letter;
    if (find_range(kNumbers, c)) return Kind::number;
    return is_white_space(c) ? Kind::space : Kind::other;
  }

  std::size_t length(std::size_t i) const noexcept { return utf8_length(text_, i); }
  char32_t code(std::size_t i) const noexcept { return utf8_code(text_.substr(i, length(i))); }
  Kind kind(std::size_t i) const noexcept {
    return i < text_.size() ? kind_of(code(i)) : Kind::end;
  }
  bool is_newline(std::size_t i) const noexcept {
    return i < text_.size() && (text_[i] == '\n' || text_[i] == '\r');
  }

  std::size_t end_of_run(std::size_t i, Kind wanted) const noexcept {
    while (kind(i) == wanted) i += length(i);
    return i;
  }

  std::size_t word_end(std::size_t i) const noexcept {
    switch (rule_) {
      case WordSplit::digit:
      case WordSplit::digits: return digits_end(i);
      case WordSplit::gpt2: return gpt2_end(i);
      case WordSplit::llama3: return llama3_end(i, 3);
      case WordSplit::qwen2: return llama3_end(i, 1);
    }
    return text_.size();
  }

  std::size_t digits_end(std::size_t i) const noexcept {
    const auto is_digit = [&](std::size_t k) {
      return kind(k) == Kind::number || find_range(kMoreDigits, code(k));
    };
    const bool digit = is_digit(i);
    do i += length(i);
    while (i < text_.size() && is_digit(i) == digit && !(digit && rule_ == WordSplit::digit));
    return i;
  }

  std::size_t gpt2_end(std::size_t i) const noexcept {
    if (const std::size_t n = contraction(i, false)) return i + n;
    const std::size_t word = text_[i] == ' ' ? i + 1 : i;  // " ?"
    const Kind first = kind(word);
    if (first != Kind::space && first != Kind::end) return end_of_run(word, first);
    return spaces_end(i);
  }

  std::size_t llama3_end(std::size_t i, int max_digits) const noexcept {
    if (const std::size_t n = contraction(i, true)) return i + n;
    const Kind first = kind(i);
    if (first == Kind::letter) return end_of_run(i, Kind::letter);
    if (first == Kind::number) {
      for (int n = 0; n < max_digits && kind(i) == Kind::number; ++n) i += length(i);
      return i;
    }
    const std::size_t after = i + length(i);
    if (!is_newline(i) && kind(after) == Kind::letter) return end_of_run(after, Kind::letter);
    const std::size_t word = text_[i] == ' ' ? after : i;
    if (kind(word) == Kind::other) {
      std::size_t end = end_of_run(word, Kind::other);
      while (is_newline(end)) ++end;
      return end;
    }
    std::size_t last_newline = text_.size();
    for (std::size_t k = i; kind(k) == Kind::space; k += length(k)) {
      if (is_newline(k)) last_newline = k;
    }
    return last_newline < text_.size() ? last_newline + 1 : spaces_end(i);
  }

  /// \s+(?!\S)|\s+ : the last space of several belongs to the word after them.
  std::size_t spaces_end(std::size_t i) const noexcept {
    const std::size_t end = end_of_run(i, Kind::space);
    const std::size_t last = utf8_previous(text_, end);
    return end == text_.size() || last == i ? end : last;
  }

  /// Length of 's, 't, 're, 've, 'm, 'll or 'd at `i`, else 0.
  std::size_t contraction(std::size_t i, bool ignore_case) const noexcept {
    if (text_[i] != '\'') return 0;
    const auto letter = [&](std::size_t k) noexcept -> char {
      if (k >= text_.size()) return '\0';
      const char c = text_[k];
      return ignore_case && c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    };
    const char a = letter(i + 1), b = letter(i + 2);
    if (a == 's' || a == 't' || a == 'm' || a == 'd') return 2;
    if (((a == 'r' || a == 'v') && b == 'e') || (a == 'l' && b == 'l')) return 3;
    // U+017F is an s without its case.
    return ignore_case && text_.substr(i + 1).starts_with("\u017f") ? 3 : 0;
  }

  std::string_view text_;
  WordSplit rule_;
  std::size_t at_ = 0;
};

}  // namespace pllava::detail
