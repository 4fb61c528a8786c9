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
  std::string unk_token;       ///< replaces characters outside the vocabulary ...
  bool byte_fallback = false;  ///< ... unless they become `<0x00>` to `<0xFF>` tokens
  bool fuse_unk = false;       ///< consecutive unknown characters give a single `unk_token`
  std::vector<TextRewrite> normalizer;   ///< applied in order to each segment between added tokens
  std::optional<Metaspace> metaspace;    ///< applied after `normalizer`
  std::vector<std::int32_t> prefix_ids;  ///< start every encoded text: BOS, or empty
  std::vector<TextRewrite> decoder;      ///< applied to each token's text; no empty `from`
  bool decode_bytes = false;             ///< decode() turns byte tokens into UTF-8
  std::string strip_content;  ///< one character that decode() removes from the text's start ...
  Index strip_count = 0;      ///< ... at most this many times
};

}  // namespace pllava
