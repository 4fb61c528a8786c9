// The data of a byte-pair tokenizer, as a loader reads it from a file.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "pllava/config.hpp"

namespace pllava {

/// A token that is matched in the text before BPE, such as `<image>` or `</s>`. The members are
/// those of the `tokenizers` package.
struct AddedToken {
  std::int32_t id = 0;
  std::string content;
  bool special = false;     ///< omitted by decode() with skip_special_tokens
  bool normalized = false;  ///< matched in the normalized text, as the normalized content
  bool lstrip = false;      ///< the match includes white space to its left
  bool rstrip = false;      ///< the match includes white space to its right
};

/// Replaces every `from` with `to`; an empty `from` prepends `to` to a non-empty text.
struct TextRewrite {
  std::string from;
  std::string to;
};

/// The Metaspace pre-tokenizer: replaces spaces with `replacement`, and may prepend one to a
/// segment that does not start with it.
struct Metaspace {
  enum class PrependScheme { first, always, never };

  std::string replacement = "\u2581";
  PrependScheme prepend_scheme = PrependScheme::always;  ///< `first`: only at the text's start
  bool split = true;  ///< merge within words only; a word includes its leading `replacement`
};

/// A rule that splits a text into words: the regular expression of a published tokenizer, or
/// Digits.
enum class WordSplit : std::uint8_t {
  digit,   ///< each digit is a word
  digits,  ///< each run of digits is a word
  gpt2,    ///< 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
  llama3,  ///< the expression of Llama 3: up to three digits in a word
  qwen2,   ///< the expression of Qwen2: the same with one digit in a word
};

/// The ByteLevel pre-tokenizer: splits into words and replaces each byte with a character.
struct ByteLevel {
  std::vector<WordSplit> splits;  ///< applied in order, each to the words of the one before
  bool add_prefix_space = false;  ///< then each word starts with a space: one is added if not
  bool use_regex = true;          ///< then WordSplit::gpt2
};

/// Two tokens and the rank of their merge. Lower ranks merge first, equal ranks from left to right.
struct TokenMerge {
  std::string left;
  std::string right;
  std::int32_t rank = 0;
};

/// The complete data of a Tokenizer. A loader fills it; Tokenizer's constructor validates it.
struct TokenizerParts {
  std::string source;              ///< file name for error messages
  std::vector<std::string> vocab;  ///< indexed by id; an empty string is an unused id
  std::vector<TokenMerge> merges;
  std::vector<AddedToken> added_tokens;
  /// Replaces characters outside the vocabulary ... Empty with `byte_level`: they are omitted.
  std::string unk_token;
  bool byte_fallback = false;  ///< ... unless they become `<0x00>` to `<0xFF>` tokens
  bool fuse_unk = false;       ///< consecutive unknown characters give a single `unk_token`
  bool ignore_merges = false;  ///< a word of the vocabulary is one token, whatever the merges give
  std::vector<TextRewrite> normalizer;   ///< applied in order to each segment between added tokens
  bool nfc = false;                      ///< in place of `normalizer`: Unicode's form C
  std::optional<Metaspace> metaspace;    ///< applied after the normalizer
  std::optional<ByteLevel> byte_level;   ///< in place of `metaspace`
  std::vector<std::int32_t> prefix_ids;  ///< start every encoded text: BOS, or empty
  std::vector<TextRewrite> decoder;      ///< applied to each token's text; no empty `from`
  bool decode_bytes = false;             ///< decode() turns byte tokens into UTF-8
  bool decode_byte_level = false;        ///< decode() turns each character into its ByteLevel byte
  std::string strip_content;  ///< one character that decode() removes from the text's start ...
  Index strip_count = 0;      ///< ... at most this many times
};

}  // namespace pllava
