// Byte-pair tokenizer for tokenizer.json files of LLaMA, Vicuna and Yi models (reference sections
// 5.5 and 5.6), and for byte-level ones as those of Llama 3, Qwen2 and SmolLM2.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "pllava/config.hpp"
#include "pllava/error.hpp"
#include "pllava/text/text_range.hpp"
#include "pllava/text/tokenizer_parts.hpp"

namespace pllava {

namespace detail {
struct TokenizerModel;
}

struct EncodeOptions {
  bool bos = true;         ///< start with the prefix ids of the tokenizer file (BOS), if any
  bool continues = false;  ///< the text continues a previous text that ended with an added token
  /// The same, but that text ended with another token: no space is prepended.
  bool within_segment = false;
  /// Added tokens in the text, such as `</s>` and `<image>`, become their ids; off: they are text.
  bool parse_special = true;
  /// Parts of the text in which they are text anyway, in order and disjoint. No added token
  /// overlaps them. Apart from that they do not change the ids: merges cross their ends.
  std::span<const TextRange> plain = {};
};

struct DecodeOptions {
  bool skip_special_tokens = true;  ///< omit special tokens such as `</s>` and `<image>`
  bool continues = false;           ///< the text continues a previous text: keep its leading space
};

/// A byte-pair tokenizer. Immutable: threads may share one object or its copies, which share data.
class Tokenizer {
 public:
  /// Throws LoadError if the parts are inconsistent.
  explicit Tokenizer(TokenizerParts parts);

  /// Reads a `tokenizer.json`. Throws LoadError naming the key: the file is missing, malformed, or
  /// uses a feature that this class does not implement exactly like the `tokenizers` package.
  static Tokenizer from_file(const std::filesystem::path& path);
  /// Reads `tokenizer.json` in a checkpoint directory.
  static Tokenizer from_directory(const std::filesystem::path& directory);
  /// A tokenizer for random weights: one token per byte (ids 3 to 258), `<unk>` 0, `<s>` 1, `</s>`
  /// 2 and `<image>` at `image_token`. Throws ArgumentError for an `image_token` below 259.
  static Tokenizer bytes(Index image_token);

  /// Token ids of UTF-8 text, in O(n log n). Each segment between added tokens is normalized
  /// independently, so a text split after an added token gives the same ids in two calls (the
  /// second with bos = false, continues = true). Text that is not parsed for added tokens never
  /// gives the id of a special token. Throws PromptError with the byte offset of invalid UTF-8,
  /// ArgumentError for `plain` ranges that are not in order or not in the text.
  std::vector<std::int32_t> encode(std::string_view text, EncodeOptions options = {}) const;

  /// Text of token ids, always valid UTF-8. A run of byte tokens that is not valid UTF-8 gives one
  /// U+FFFD per byte; invalid bytes of a byte-level tokenizer give one for each longest start of a
  /// character. Ids without a token are omitted, as in the reference.
  std::string decode(std::span<const std::int32_t> ids, DecodeOptions options = {}) const;

  /// The id of a token, spelled as in the file; nullopt if there is none.
  std::optional<std::int32_t> id_of(std::string_view token) const;
  /// Whether an id has a token.
  bool has_token(std::int32_t id) const noexcept;
  /// The token of an id, spelled as in the file. Throws ArgumentError for an id without a token.
  std::string_view token(std::int32_t id) const;
  /// Whether the id is of an added token, such as `</s>` and `<image>`.
  bool is_added(std::int32_t id) const noexcept;
  /// Whether decode() omits this id with skip_special_tokens. False for ids without a token.
  bool is_special(std::int32_t id) const noexcept;
  /// The first id of every encoded text, if the tokenizer adds one.
  std::optional<std::int32_t> bos_id() const noexcept;
  /// The largest id plus one.
  Index size() const noexcept;

 private:
  friend class StreamDecoder;
  std::shared_ptr<const detail::TokenizerModel> model_;
};

/// Incremental decode(), for streaming an answer. The returned pieces concatenate to decode() of
/// all ids. A run of byte tokens (a character outside the vocabulary, or a newline) is buffered
/// until the next token that is not a byte token; the pieces of a byte-level tokenizer end with its
/// last whole character. Not thread-safe.
class StreamDecoder {
 public:
  explicit StreamDecoder(Tokenizer tokenizer, DecodeOptions options = {});

  /// The text that is complete with this id; often empty, never a partial character.
  std::string push(std::int32_t id);
  /// The buffered rest. The decoder then continues the same text.
  std::string flush();

 private:
  std::string strip(std::string text);
  std::string take_characters(bool all);  // of ByteLevel; `all`: also an incomplete character

  Tokenizer tokenizer_;
  bool skip_special_tokens_;
  Index to_strip_;     // leading characters that may still be removed
  std::string bytes_;  // the current run of byte tokens, or of ByteLevel an incomplete character
};

}  // namespace pllava

#ifndef PLLAVA_COMPILED
#include "pllava/text/detail/tokenizer_inl.hpp"
#endif
