// The tokenizer of a GGUF file: tokenizer.ggml.* as TokenizerParts.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "pllava/checkpoint/detail/gguf_keys.hpp"
#include "pllava/models/model_config.hpp"
#include "pllava/text/detail/sentencepiece_pieces.hpp"
#include "pllava/text/detail/token_ids.hpp"
#include "pllava/text/detail/utf8.hpp"
#include "pllava/text/prompt.hpp"
#include "pllava/text/tokenizer_parts.hpp"

namespace pllava::detail {

inline constexpr const char* kGgufTokens = "tokenizer.ggml.tokens";

/// How a byte-level tokenizer splits words, and what else its name in tokenizer.ggml.pre implies.
struct PreTokenizer {
  std::string_view name;
  std::optional<WordSplit> split;  ///< applied first
  bool use_regex;                  ///< then GPT-2's expression
  bool nfc, ignore_merges, add_bos;
};
inline constexpr std::array<PreTokenizer, 5> kPreTokenizers = {{
    {"llama-bpe", WordSplit::llama3, false, false, true, true},
    {"qwen2", WordSplit::qwen2, false, true, false, false},
    {"smollm", WordSplit::digit, true, false, false, false},
    {"gpt-2", std::nullopt, true, false, false, false},
    {"default", std::nullopt, true, false, false, false},
}};

/// Tokens with their kinds and, if `has_scores`, their scores. Throws LoadError for lists of
/// different lengths and text that is not UTF-8.
inline std::vector<SentencePiece> read_gguf_pieces(GgufKeys& keys, bool has_scores) {
  const std::string types_key = "tokenizer.ggml.token_type", scores_key = "tokenizer.ggml.scores";
  auto tokens = keys.get<std::vector<std::string>>(kGgufTokens);
  const std::string expected = "one for each of the " + std::to_string(tokens.size()) + " tokens";
  keys.require(kGgufTokens, tokens.size() <= static_cast<std::size_t>(kMaxTokenId),
               "at most 2^24 tokens");
  std::vector<double> scores(tokens.size());
  if (has_scores) scores = keys.get<std::vector<double>>(scores_key);
  keys.require(scores_key, scores.size() == tokens.size(), expected);
  std::vector<std::int64_t> types(tokens.size(), 1);
  if (has_scores || keys.has(types_key)) types = keys.integers(types_key);
  keys.require(types_key, types.size() == tokens.size(), expected);
  constexpr std::size_t kMaxBytes = 1024;  // merges_of takes quadratic time
  std::vector<SentencePiece> pieces;
  pieces.reserve(tokens.size());
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    keys.require(kGgufTokens, utf8_error(tokens[i]) == tokens[i].size(),
                 "UTF-8, also in token " + std::to_string(i));
    keys.require(kGgufTokens, !has_scores || tokens[i].size() <= kMaxBytes,
                 "tokens of at most 1024 bytes, also token " + std::to_string(i));
    keys.require(types_key, types[i] >= 1 && types[i] <= 6, "1 (normal) to 6 (byte)");
    keys.require(scores_key, scores[i] == scores[i], "numbers");
    pieces.push_back(
        {std::move(tokens[i]), static_cast<float>(scores[i]), static_cast<PieceKind>(types[i])});
  }
  return pieces;
}

/// The merges, "left right", in the order of their ranks.
inline std::vector<TokenMerge> read_gguf_merges(GgufKeys& keys) {
  const std::string key = "tokenizer.ggml.merges";
  std::vector<TokenMerge> merges;
  for (const std::string& merge : keys.get<std::vector<std::string>>(key)) {
    const std::size_t space = merge.find(' ', 1);  // a token may be a space
    keys.require(key, space != std::string::npos && space + 1 < merge.size(),
                 "\"left right\" in element " + std::to_string(merges.size()));
    merges.push_back({merge.substr(0, space), merge.substr(space + 1),
                      static_cast<std::int32_t>(merges.size())});
  }
  return merges;
}

inline const PreTokenizer& read_pre_tokenizer(GgufKeys& keys) {
  const std::string key = "tokenizer.ggml.pre", name = keys.text_or(key, "default");
  const auto* const found = std::find_if(kPreTokenizers.begin(), kPreTokenizers.end(),
                                         [&](const PreTokenizer& p) { return p.name == name; });
  keys.require(key, found != kPreTokenizers.end(),
               R"("llama-bpe", "qwen2", "smollm", "gpt-2" or "default")");
  return *found;
}

/// A byte-level tokenizer.
inline TokenizerParts byte_level_parts(GgufKeys& keys, const PreTokenizer& pre) {
  TokenizerParts parts;
  const std::vector<SentencePiece> pieces = read_gguf_pieces(keys, false);
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    const SentencePiece& piece = pieces[i];
    parts.vocab.push_back(piece.kind == PieceKind::unused ? std::string() : piece.text);
    if (piece.kind != PieceKind::normal && piece.kind != PieceKind::unused && !piece.text.empty())
      parts.added_tokens.push_back({.id = static_cast<std::int32_t>(i),
                                    .content = piece.text,
                                    .special = piece.kind != PieceKind::user_defined});
  }
  parts.merges = read_gguf_merges(keys);
  parts.nfc = pre.nfc;
  parts.ignore_merges = pre.ignore_merges;
  parts.byte_level = ByteLevel{.splits = {}, .add_prefix_space = false, .use_regex = pre.use_regex};
  if (pre.split) parts.byte_level->splits.push_back(*pre.split);
  parts.decode_byte_level = true;
  return parts;
}

/// The id of kVideoToken: the token of this text, else just past the vocabulary. No row of the
/// embeddings is read for it, as the video takes its place.
inline Index gguf_image_token(GgufKeys& keys, Index vocab) {
  if (!keys.has(kGgufTokens)) return vocab;
  const auto tokens = keys.get<std::vector<std::string>>(kGgufTokens);
  return static_cast<Index>(std::find(tokens.begin(), tokens.end(), kVideoToken) - tokens.begin());
}

/// The tokenizer. `has_image_token`: kVideoToken is an added token, with the id gguf_image_token.
inline TokenizerParts gguf_tokenizer_parts(GgufKeys& keys, bool has_image_token) {
  const std::string model = keys.get<std::string>("tokenizer.ggml.model");
  keys.require("tokenizer.ggml.model", model == "llama" || model == "gpt2",
               "\"llama\" (SentencePiece) or \"gpt2\" (byte-level)");
  const bool is_byte_level = model == "gpt2";
  const PreTokenizer& pre = is_byte_level ? read_pre_tokenizer(keys) : kPreTokenizers.back();
  for (const char* key :
       {"tokenizer.ggml.add_eos_token", "tokenizer.ggml.remove_extra_whitespaces"})
    keys.require_off<bool>(key, {false});
  if (keys.has("tokenizer.ggml.precompiled_charsmap"))
    throw keys.error("tokenizer.ggml.precompiled_charsmap", "none");
  const bool space_prefix = keys.boolean_or("tokenizer.ggml.add_space_prefix", !is_byte_level);
  if (is_byte_level)
    keys.require("tokenizer.ggml.add_space_prefix", !space_prefix, "false with \"gpt2\"");
  TokenizerParts parts = is_byte_level
                             ? byte_level_parts(keys, pre)
                             : parts_of_pieces({}, read_gguf_pieces(keys, true), space_prefix);
  parts.source = keys.file().path();
  if (keys.boolean_or("tokenizer.ggml.add_bos_token", !is_byte_level || pre.add_bos)) {
    const Index bos = keys.integer("tokenizer.ggml.bos_token_id", 0, kMaxTokenId);
    parts.prefix_ids.push_back(static_cast<std::int32_t>(bos));
  }
  keys.require_off<bool>("tokenizer.ggml.add_sep_token", {false});
  keys.refuse_unread("tokenizer.ggml.",
                     {"pre", "scores", "token_type", "merges", "token_type_count", "*_token_id"});
  if (has_image_token) {
    const std::string token(kVideoToken);
    const Index id = gguf_image_token(keys, static_cast<Index>(parts.vocab.size()));
    std::erase_if(parts.added_tokens, [&](const AddedToken& t) { return t.content == token; });
    parts.added_tokens.push_back(
        {.id = static_cast<std::int32_t>(id), .content = token, .special = true});
    if (id < static_cast<Index>(parts.vocab.size()))
      parts.vocab[static_cast<std::size_t>(id)] = token;
  }
  return parts;
}

/// The ids of special tokens, for the configuration. Files list the end of a turn only in part, so
/// its control tokens with the names of published models are added.
inline void read_gguf_special_tokens(GgufKeys& keys, ModelConfig& m) {
  const Index last = m.text.vocab - 1;
  const auto id = [&](const char* name, Index fallback) {
    return keys.integer_or(std::string("tokenizer.ggml.") + name, fallback, 0, last);
  };
  m.bos_token = id("bos_token_id", m.bos_token);
  m.pad_token = id("padding_token_id", m.pad_token);
  m.image_token = gguf_image_token(keys, m.text.vocab);
  std::vector<Index> eos;
  const auto add = [&](Index token) {
    if (token >= 0 && std::find(eos.begin(), eos.end(), token) == eos.end()) eos.push_back(token);
  };
  for (const char* name : {"eos_token_id", "eot_token_id", "eom_token_id"}) add(id(name, -1));
  if (keys.has(kGgufTokens)) {
    const auto tokens = keys.get<std::vector<std::string>>(kGgufTokens);
    const std::string types_key = "tokenizer.ggml.token_type";
    const auto types = keys.has(types_key) ? keys.integers(types_key) : std::vector<std::int64_t>();
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      if (i >= types.size() || types[i] != static_cast<std::int64_t>(PieceKind::control)) continue;
      for (const std::string_view end :
           {"<|im_end|>", "<|eot_id|>", "<|endoftext|>", "<|end_of_text|>"})
        if (tokens[i] == end) add(static_cast<Index>(i));
    }
  }
  if (!eos.empty()) m.eos_tokens = eos;
}

}  // namespace pllava::detail
