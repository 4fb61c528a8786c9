// The data of a Tokenizer: validated and indexed TokenizerParts.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "pllava/error.hpp"
#include "pllava/text/detail/added_tokens.hpp"
#include "pllava/text/detail/bpe.hpp"
#include "pllava/text/detail/byte_characters.hpp"
#include "pllava/text/detail/byte_tokens.hpp"
#include "pllava/text/detail/nfc.hpp"
#include "pllava/text/detail/text_rewrite.hpp"
#include "pllava/text/detail/token_ids.hpp"
#include "pllava/text/detail/utf8.hpp"
#include "pllava/text/detail/word_split.hpp"
#include "pllava/text/text_range.hpp"
#include "pllava/text/tokenizer_parts.hpp"

namespace pllava::detail {

/// What a segment between added tokens follows.
enum class SegmentStart : std::uint8_t { text, after_added_token, within };

/// Not copyable: the indices hold views and pointers into `parts`.
struct TokenizerModel {
  struct Output {      // the contribution of an id to the decoded text
    std::string text;  // bytes with decode_byte_level, else UTF-8; empty for ids without a token
    int byte = -1;     // value of a byte token, else -1
    bool special = false;
    bool known = false;
  };

  explicit TokenizerModel(TokenizerParts p) : parts(std::move(p)) {
    check_steps();
    index_vocab();
    index_added_tokens();
    bpe = Bpe(parts, vocab_ids);
    parts.merges = {};  // `bpe` has its own table
    for (const std::int32_t id : parts.prefix_ids) {
      if (!known(id))
        fail("unknown id at the start of every text", "prefix_ids", "a token's id", id);
    }
    if (parts.strip_count > 0 &&
        utf8_length(parts.strip_content, 0) != parts.strip_content.size()) {
      fail("cannot strip this from decoded text", "strip_content", "one character",
           parts.strip_content);
    }
  }
  TokenizerModel(const TokenizerModel&) = delete;
  TokenizerModel& operator=(const TokenizerModel&) = delete;

  bool known(std::int32_t id) const noexcept {
    return id >= 0 && static_cast<std::size_t>(id) < outputs.size() &&
           outputs[static_cast<std::size_t>(id)].known;
  }

  std::int32_t find(std::string_view token) const {
    const std::int32_t id = find_token(vocab_ids, token);
    return id != kNoToken ? id : find_token(added_ids, token);
  }

  /// The normalized text of a segment between added tokens, or of its rest: then nothing is
  /// prepended. `marks`: see nfc() and rewrite().
  std::string normalize(std::string text, std::vector<bool>* marks = nullptr,
                        SegmentStart start = SegmentStart::after_added_token) const {
    if (parts.nfc) return nfc(std::move(text), marks);
    if (start != SegmentStart::within) return rewrite(std::move(text), parts.normalizer, marks);
    std::vector<TextRewrite> replacements;
    for (const TextRewrite& step : parts.normalizer)
      if (!step.from.empty()) replacements.push_back(step);
    return rewrite(std::move(text), replacements, marks);
  }

  /// Appends the ids of a text between raw added tokens. Added tokens that overlap `plain` are
  /// text.
  void encode_between(std::string_view text, std::span<const TextRange> plain, SegmentStart start,
                      std::vector<std::int32_t>& out) const {
    std::vector<TextRange> normalized_plain;
    std::string segment;
    if (normalized.empty() || plain.empty()) {
      segment = normalize(std::string(text), nullptr, start);
    } else {
      std::vector<bool> marks(text.size());
      for (const TextRange& range : plain)
        std::fill(marks.begin() + static_cast<std::ptrdiff_t>(range.begin),
                  marks.begin() + static_cast<std::ptrdiff_t>(range.end), true);
      segment = normalize(std::string(text), &marks, start);
      for (std::size_t i = 0, end = 0; i < marks.size(); i = end + 1) {
        for (end = i; end < marks.size() && marks[end];) ++end;
        if (end > i) normalized_plain.push_back({i, end});
      }
    }
    for (const TextSpan& span : normalized.split(segment, normalized_plain)) {
      if (span.id != kNoToken) {
        out.push_back(span.id);
      } else {
        encode_segment(std::string_view(segment).substr(span.begin, span.end - span.begin),
                       span.begin == 0 ? start : SegmentStart::after_added_token, out);
      }
    }
  }

  /// Appends the ids of a normalized segment: the pre-tokenizer, then BPE.
  void encode_segment(std::string_view text, SegmentStart start,
                      std::vector<std::int32_t>& out) const {
    if (parts.byte_level) {
      encode_byte_level(text, out);
    } else if (parts.metaspace) {
      encode_metaspace(text, start, out);
    } else {
      bpe.encode(text, out);
    }
  }

  TokenizerParts parts;
  TokenIds vocab_ids;
  TokenIds added_ids;  // of the added tokens that are not in the vocabulary
  Bpe bpe;
  std::vector<std::string> added_patterns;
  AddedTokenTrie raw;           // added tokens matched in the text before normalization
  AddedTokenTrie normalized;    // added tokens matched in the normalized text
  std::vector<Output> outputs;  // indexed by id

 private:
  void encode_metaspace(std::string_view text, SegmentStart start,
                        std::vector<std::int32_t>& out) const {
    const Metaspace& meta = *parts.metaspace;
    std::string spaced =
        rewrite(std::string(text), std::vector{TextRewrite{" ", meta.replacement}});
    const bool prepend =
        (meta.prepend_scheme == Metaspace::PrependScheme::always &&
         start != SegmentStart::within) ||
        (meta.prepend_scheme == Metaspace::PrependScheme::first && start == SegmentStart::text);
    if (prepend && !spaced.starts_with(meta.replacement)) spaced.insert(0, meta.replacement);
    if (!meta.split) return bpe.encode(spaced, out);
    const std::string_view all = spaced;
    for (std::size_t begin = 0; begin < all.size();) {
      const std::size_t next = all.find(meta.replacement, begin + 1);
      const std::size_t end = next == std::string_view::npos ? all.size() : next;
      bpe.encode(all.substr(begin, end - begin), out);
      begin = end;
    }
  }

  void encode_byte_level(std::string_view text, std::vector<std::int32_t>& out) const {
    std::vector<std::string_view> words{text};
    for (const WordSplit rule : parts.byte_level->splits) {
      std::vector<std::string_view> parts_of_words;
      for (const std::string_view word : words) {
        WordSplitter splitter(word, rule);
        for (auto w = splitter.next(); !w.empty(); w = splitter.next()) parts_of_words.push_back(w);
      }
      words = std::move(parts_of_words);
    }
    std::string prefixed;
    for (std::string_view word : words) {
      if (parts.byte_level->add_prefix_space && !word.starts_with(' '))
        word = prefixed = " " + std::string(word);
      if (!parts.byte_level->use_regex) {
        bpe.encode(byte_characters(word), out);
        continue;
      }
      WordSplitter splitter(word, WordSplit::gpt2);
      for (auto w = splitter.next(); !w.empty(); w = splitter.next())
        bpe.encode(byte_characters(w), out);
    }
  }

  [[noreturn]] void fail(const std::string& problem, std::string key, std::string expected,
                         std::string got) const {
    throw LoadError(problem, {parts.source, std::move(key), std::move(expected), std::move(got)});
  }
  [[noreturn]] void fail(const std::string& problem, std::string key, std::string expected,
                         std::int32_t id) const {
    fail(problem, std::move(key), std::move(expected), std::to_string(id));
  }

  /// Steps that exclude each other.
  void check_steps() const {
    if (parts.nfc && !parts.normalizer.empty())
      fail("NFC and other steps in the normalizer", "normalizer", "NFC alone", "other steps");
    if (parts.byte_level && parts.metaspace)
      fail("two pre-tokenizers", "pre_tokenizer", "ByteLevel or Metaspace", "both");
    if (parts.decode_byte_level &&
        (parts.decode_bytes || !parts.decoder.empty() || parts.strip_count > 0))
      fail("ByteLevel and other steps in the decoder", "decoder", "ByteLevel alone", "other steps");
  }

  void set_output(std::int32_t id, const std::string& token, bool special) {
    if (static_cast<std::size_t>(id) >= outputs.size()) {
      outputs.resize(static_cast<std::size_t>(id) + 1);
    }
    std::string text =
        parts.decode_byte_level ? bytes_of_token(token) : rewrite(token, parts.decoder);
    const int byte = parts.decode_bytes ? byte_token_value(text) : -1;
    outputs[static_cast<std::size_t>(id)] = {std::move(text), byte, special, true};
  }

  void index_vocab() {
    if (parts.vocab.size() > static_cast<std::size_t>(kMaxTokenId) + 1) {
      fail("the vocabulary is too large", "vocab", "ids up to " + std::to_string(kMaxTokenId),
           std::to_string(parts.vocab.size()));
    }
    vocab_ids.reserve(parts.vocab.size());
    outputs.resize(parts.vocab.size());
    for (std::size_t i = 0; i < parts.vocab.size(); ++i) {
      const std::string& token = parts.vocab[i];
      if (token.empty()) continue;
      const auto id = static_cast<std::int32_t>(i);
      if (const auto [entry, inserted] = vocab_ids.try_emplace(token, id); !inserted) {
        fail("token \"" + token + "\" has two ids", "vocab", std::to_string(entry->second), id);
      }
      set_output(id, token, false);
    }
  }

  void index_added_tokens() {
    added_patterns.reserve(parts.added_tokens.size());
    for (const AddedToken& token : parts.added_tokens) {
      const std::string key = "added_tokens";
      if (token.content.empty()) fail("an added token is empty", key, "some text", token.id);
      if (token.id < 0 || token.id > kMaxTokenId) {
        fail("added token \"" + token.content + "\" has no valid id", key,
             "0 to " + std::to_string(kMaxTokenId), token.id);
      }
      const std::int32_t id = find(token.content);
      if (id != kNoToken && id != token.id)
        fail("token \"" + token.content + "\" has two ids", key, std::to_string(id), token.id);
      if (id == kNoToken && known(token.id)) {
        fail("added token \"" + token.content + "\" has another token's id", key, "an unused id",
             token.id);
      }
      if (id == kNoToken) added_ids.emplace(token.content, token.id);
      set_output(token.id, token.content, token.special);
      added_patterns.push_back(token.normalized ? normalize(token.content) : token.content);
      if (!added_patterns.back().empty()) {
        (token.normalized ? normalized : raw).add(added_patterns.back(), token);
      }
    }
  }
};

}  // namespace pllava::detail
