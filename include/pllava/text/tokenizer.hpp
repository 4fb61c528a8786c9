// Text to token ids and back: byte-pair encoding as a checkpoint's tokenizer.json describes it, in
// the form the LLaMA, Vicuna and Yi models use (reference section 5.5 and 5.6).
#pragma once

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
#include "pllava/text/tokenizer_parts.hpp"

namespace pllava {

struct EncodeOptions {
  bool bos = true;         ///< put the ids in front that the tokenizer file asks for, if any
  bool continues = false;  ///< the text follows an added token of a text encoded before
};

struct DecodeOptions {
  bool skip_special_tokens = true;  ///< leave out special tokens such as `</s>` and `<image>`
  bool continues = false;           ///< earlier text exists, so a leading space is kept
};

/// A byte-pair tokenizer. Const after construction: one object, or its cheap copies, may be used
/// from any number of threads.
class Tokenizer {
 public:
  /// Throws LoadError if the parts contradict each other.
  explicit Tokenizer(TokenizerParts parts);

  /// Reads a `tokenizer.json`. Throws LoadError naming the key: the file is missing, malformed, or
  /// asks for something this class does not do exactly as the `tokenizers` package does.
  static Tokenizer from_file(const std::filesystem::path& path);
  /// Reads `tokenizer.json` in a checkpoint's directory.
  static Tokenizer from_directory(const std::filesystem::path& directory);
  /// One token a byte (ids 3 to 258), `<unk>` 0, `<s>` 1, `</s>` 2 and `<image>` under the given
  /// id: enough to run random weights of any size. Throws ArgumentError for an id below 259.
  static Tokenizer bytes(Index image_token);

  /// Token ids of UTF-8 text, in O(n log n). The text between two added tokens is normalised by
  /// itself, so a text cut after an added token gives the same ids in two calls (the second with
  /// bos = false, continues = true). Throws PromptError with the byte offset of invalid UTF-8.
  std::vector<std::int32_t> encode(std::string_view text, EncodeOptions options = {}) const;

  /// Text of token ids: valid UTF-8 always. A run of byte tokens that is not UTF-8 gives one U+FFFD
  /// a byte. Ids without a token are left out, as the reference does.
  std::string decode(std::span<const std::int32_t> ids, DecodeOptions options = {}) const;

  /// The id of exactly this token, as written in the file.
  std::optional<std::int32_t> id_of(std::string_view token) const;
  /// The token as written in the file. Throws ArgumentError for an id without one.
  std::string_view token(std::int32_t id) const;
  /// Whether decode() leaves this id out. False for ids without a token.
  bool is_special(std::int32_t id) const noexcept;
  /// The id that encode() puts first, if any.
  std::optional<std::int32_t> bos_id() const noexcept;
  /// One more than the highest id.
  Index size() const noexcept;

 private:
  friend class StreamDecoder;
  struct Model;
  std::shared_ptr<const Model> model_;
};

/// decode() one id at a time, for showing an answer while it is generated. The pieces put together
/// are what decode() returns for all ids. A run of byte tokens (a character outside the vocabulary,
/// or a newline) is held back until the next ordinary token shows that it is complete.
/// Belongs to one thread at a time.
class StreamDecoder {
 public:
  explicit StreamDecoder(Tokenizer tokenizer, DecodeOptions options = {});

  /// The text that became certain with this id; often empty, never part of a character.
  std::string push(std::int32_t id);
  /// The rest. Afterwards the decoder continues the same text.
  std::string flush();

 private:
  std::string strip(std::string text);

  Tokenizer tokenizer_;
  bool skip_special_tokens_;
  Index to_strip_;     // leading characters that may still be taken off
  std::string bytes_;  // the current run of byte tokens
};

}  // namespace pllava

#ifndef PLLAVA_COMPILED
#include "pllava/text/detail/tokenizer_inl.hpp"
#endif
