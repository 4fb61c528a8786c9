// Bodies of tokenizer.hpp.
#pragma once

#include <algorithm>
#include <utility>

#include "pllava/text/detail/byte_tokens.hpp"
#include "pllava/text/detail/token_ids.hpp"
#include "pllava/text/detail/tokenizer_json.hpp"
#include "pllava/text/detail/tokenizer_model.hpp"
#include "pllava/text/detail/utf8.hpp"
#include "pllava/text/tokenizer.hpp"

namespace pllava {

PLLAVA_INLINE Tokenizer::Tokenizer(TokenizerParts parts)
    : model_(std::make_shared<const detail::TokenizerModel>(std::move(parts))) {}

PLLAVA_INLINE Tokenizer Tokenizer::from_file(const std::filesystem::path& path) {
  return Tokenizer(detail::TokenizerJson(path).parts());
}

PLLAVA_INLINE Tokenizer Tokenizer::from_directory(const std::filesystem::path& directory) {
  return from_file(directory / "tokenizer.json");
}

PLLAVA_INLINE Tokenizer Tokenizer::bytes(Index image_token) {
  if (image_token < 259)
    throw ArgumentError("the image token of a byte tokenizer must be 259 or more, not " +
                        std::to_string(image_token));
  TokenizerParts parts;
  parts.source = "bytes";
  parts.vocab.resize(static_cast<std::size_t>(image_token) + 1);
  const auto add_special = [&](Index id, const char* text) {
    parts.vocab[static_cast<std::size_t>(id)] = text;
    parts.added_tokens.push_back({static_cast<std::int32_t>(id), text, true});
  };
  add_special(0, "<unk>"), add_special(1, "<s>"), add_special(2, "</s>");
  add_special(image_token, "<image>");
  for (unsigned b = 0; b < 256; ++b) parts.vocab[3 + b] = detail::byte_token(b);
  parts.unk_token = "<unk>";
  parts.byte_fallback = parts.decode_bytes = true;
  parts.prefix_ids = {1};
  return Tokenizer(std::move(parts));
}

PLLAVA_INLINE std::vector<std::int32_t> Tokenizer::encode(std::string_view text,
                                                          EncodeOptions options) const {
  if (const std::size_t bad = detail::utf8_error(text); bad != text.size()) {
    throw PromptError("the text is not valid UTF-8: byte " + std::to_string(bad) + " is " +
                      detail::hex_byte(static_cast<unsigned char>(text[bad])));
  }
  std::size_t done = 0;
  for (const TextRange& range : options.plain) {
    if (range.begin < done || range.end < range.begin || range.end > text.size())
      throw ArgumentError("the plain range " + std::to_string(range.begin) + " to " +
                          std::to_string(range.end) + " is not in a text of " +
                          std::to_string(text.size()) + " bytes or not after the range before");
    done = range.end;
  }
  const detail::TokenizerModel& model = *model_;
  const TextRange all{0, text.size()};
  const std::span<const TextRange> plain =
      options.parse_special ? options.plain : std::span(&all, 1);
  std::vector<std::int32_t> ids;
  if (options.bos) ids = model.parts.prefix_ids;
  std::span<const TextRange> rest = plain;  // what does not end before the span
  for (const detail::TextSpan& span : model.raw.split(text, plain)) {
    if (span.id != detail::kNoToken) {
      ids.push_back(span.id);
      continue;
    }
    std::vector<TextRange> inside;  // the part of `plain` in the span
    while (!rest.empty() && rest.front().end <= span.begin) rest = rest.subspan(1);
    for (const TextRange& range : rest) {
      if (range.begin >= span.end) break;
      const std::size_t begin = std::max(range.begin, span.begin);
      const std::size_t end = std::min(range.end, span.end);
      if (begin < end) inside.push_back({begin - span.begin, end - span.begin});
    }
    const auto start = span.begin > 0           ? detail::SegmentStart::after_added_token
                       : options.within_segment ? detail::SegmentStart::within
                       : options.continues      ? detail::SegmentStart::after_added_token
                                                : detail::SegmentStart::text;
    model.encode_between(text.substr(span.begin, span.end - span.begin), inside, start, ids);
  }
  return ids;
}

PLLAVA_INLINE std::string Tokenizer::decode(std::span<const std::int32_t> ids,
                                            DecodeOptions options) const {
  StreamDecoder stream(*this, options);
  std::string text;
  for (const std::int32_t id : ids) text += stream.push(id);
  return text += stream.flush();
}

PLLAVA_INLINE std::optional<std::int32_t> Tokenizer::id_of(std::string_view token) const {
  const std::int32_t id = model_->find(token);
  return id == detail::kNoToken ? std::nullopt : std::optional(id);
}

PLLAVA_INLINE bool Tokenizer::has_token(std::int32_t id) const noexcept {
  return model_->known(id);
}

PLLAVA_INLINE std::string_view Tokenizer::token(std::int32_t id) const {
  if (!model_->known(id)) throw ArgumentError("no token has the id " + std::to_string(id));
  for (const AddedToken& token : model_->parts.added_tokens) {
    if (token.id == id) return token.content;
  }
  return model_->parts.vocab[static_cast<std::size_t>(id)];
}

PLLAVA_INLINE bool Tokenizer::is_added(std::int32_t id) const noexcept {
  const auto& tokens = model_->parts.added_tokens;
  return std::any_of(tokens.begin(), tokens.end(),
                     [&](const AddedToken& token) { return token.id == id; });
}

PLLAVA_INLINE bool Tokenizer::is_special(std::int32_t id) const noexcept {
  return model_->known(id) && model_->outputs[static_cast<std::size_t>(id)].special;
}

PLLAVA_INLINE std::optional<std::int32_t> Tokenizer::bos_id() const noexcept {
  if (model_->parts.prefix_ids.empty()) return std::nullopt;
  return model_->parts.prefix_ids.front();
}

PLLAVA_INLINE Index Tokenizer::size() const noexcept {
  return static_cast<Index>(model_->outputs.size());
}

PLLAVA_INLINE StreamDecoder::StreamDecoder(Tokenizer tokenizer, DecodeOptions options)
    : tokenizer_(std::move(tokenizer)),
      skip_special_tokens_(options.skip_special_tokens),
      to_strip_(options.continues ? 0 : tokenizer_.model_->parts.strip_count) {}

PLLAVA_INLINE std::string StreamDecoder::push(std::int32_t id) {
  const detail::TokenizerModel& model = *tokenizer_.model_;
  if (!model.known(id)) return {};
  const auto& output = model.outputs[static_cast<std::size_t>(id)];
  if (output.special && skip_special_tokens_) return {};
  if (model.parts.decode_byte_level) {
    bytes_ += output.text;
    return take_characters(false);
  }
  if (output.byte >= 0) {
    bytes_ += static_cast<char>(output.byte);
    return {};
  }
  std::string text = flush();
  return text += strip(output.text);
}

PLLAVA_INLINE std::string StreamDecoder::flush() {
  if (tokenizer_.model_->parts.decode_byte_level) return take_characters(true);
  std::string text = std::exchange(bytes_, {});
  if (detail::utf8_error(text) != text.size()) {
    std::string replaced;
    for (std::size_t i = 0; i < text.size(); ++i) replaced += "\uFFFD";
    text = std::move(replaced);
  }
  return strip(std::move(text));
}

PLLAVA_INLINE std::string StreamDecoder::take_characters(bool all) {
  std::string text;
  std::size_t i = 0;
  while (i < bytes_.size()) {
    const auto [matched, needed] = detail::utf8_start(bytes_, i);
    if (matched == needed) {
      text.append(bytes_, i, needed);
    } else if (!all && needed > 0 && i + matched == bytes_.size()) {
      break;  // the next token may complete it
    } else {
      text += "\uFFFD";
    }
    i += matched;
  }
  bytes_.erase(0, i);
  return text;
}

PLLAVA_INLINE std::string StreamDecoder::strip(std::string text) {
  const std::string& character = tokenizer_.model_->parts.strip_content;
  std::size_t begin = 0;
  while (to_strip_ > 0 && begin < text.size()) {
    if (text.compare(begin, character.size(), character) == 0) {
      begin += character.size();
      --to_strip_;
    } else {
      to_strip_ = 0;
    }
  }
  return text.substr(begin);
}

}  // namespace pllava
