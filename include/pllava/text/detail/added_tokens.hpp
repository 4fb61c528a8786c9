// Search for added tokens in a text.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "pllava/text/detail/token_ids.hpp"
#include "pllava/text/detail/utf8.hpp"
#include "pllava/text/text_range.hpp"
#include "pllava/text/tokenizer_parts.hpp"

namespace pllava::detail {

/// A range of bytes of a text: an added token (id >= 0), or text between added tokens (kNoToken).
struct TextSpan {
  std::size_t begin;
  std::size_t end;
  std::int32_t id;
};

/// A trie over bytes that finds added tokens: leftmost match first, longest match at a position.
class AddedTokenTrie {
 public:
  /// `token` must outlive the trie.
  void add(std::string_view pattern, const AddedToken& token) {
    std::uint32_t node = 0;
    for (const char c : pattern) {
      const auto [edge, inserted] = edges_.try_emplace(edge_key(node, c), num_nodes_);
      if (inserted) ++num_nodes_;
      node = edge->second;
    }
    tokens_.insert_or_assign(node, &token);
    first_bytes_[static_cast<unsigned char>(pattern[0])] = true;
  }

  bool empty() const noexcept { return tokens_.empty(); }

  /// Splits `text` (valid UTF-8) at the added tokens that do not overlap a range of `plain`, which
  /// are in order. Returns the non-empty spans in order.
  std::vector<TextSpan> split(std::string_view text, std::span<const TextRange> plain) const {
    std::vector<TextSpan> spans;
    std::size_t done = 0;
    for (std::size_t i = 0; i < text.size();) {
      while (!plain.empty() && plain.front().end <= i) plain = plain.subspan(1);
      if (!plain.empty() && plain.front().begin <= i) {
        i = plain.front().end;
        continue;
      }
      const std::size_t limit = plain.empty() ? text.size() : plain.front().begin;
      const auto [token, length] = match(text.substr(0, limit), i);
      if (!token) {
        ++i;
        continue;
      }
      std::size_t begin = i;
      std::size_t end = i + length;
      if (token->lstrip) begin = skip_spaces_left(text, begin, done);
      if (token->rstrip) end = skip_spaces_right(text, end);
      if (done < begin) spans.push_back({done, begin, kNoToken});
      spans.push_back({begin, end, token->id});
      i = done = end;
    }
    if (done < text.size()) spans.push_back({done, text.size(), kNoToken});
    return spans;
  }

 private:
  static std::uint64_t edge_key(std::uint32_t node, char c) {
    return std::uint64_t{node} << 8 | static_cast<unsigned char>(c);
  }

  /// The longest token that starts at byte `at`, and its length; {nullptr, 0} if there is none.
  std::pair<const AddedToken*, std::size_t> match(std::string_view text, std::size_t at) const {
    std::pair<const AddedToken*, std::size_t> longest{nullptr, 0};
    if (!first_bytes_[static_cast<unsigned char>(text[at])]) return longest;
    std::uint32_t node = 0;
    for (std::size_t i = at; i < text.size(); ++i) {
      const auto edge = edges_.find(edge_key(node, text[i]));
      if (edge == edges_.end()) break;
      node = edge->second;
      if (const auto found = tokens_.find(node); found != tokens_.end())
        longest = {found->second, i + 1 - at};
    }
    return longest;
  }

  static std::size_t skip_spaces_left(std::string_view text, std::size_t i, std::size_t limit) {
    while (i > limit) {
      const std::size_t previous = utf8_previous(text, i);
      if (!is_white_space(utf8_code(text.substr(previous, i - previous)))) break;
      i = previous;
    }
    return i;
  }

  static std::size_t skip_spaces_right(std::string_view text, std::size_t i) {
    while (i < text.size()) {
      const std::size_t n = utf8_length(text, i);
      if (!is_white_space(utf8_code(text.substr(i, n)))) break;
      i += n;
    }
    return i;
  }

  std::unordered_map<std::uint64_t, std::uint32_t> edges_;       // (node, byte) -> child node
  std::unordered_map<std::uint32_t, const AddedToken*> tokens_;  // node -> the token ending there
  std::array<bool, 256> first_bytes_{};
  std::uint32_t num_nodes_ = 1;
};

}  // namespace pllava::detail
