// A Tokenizer from a SentencePiece `tokenizer.model`, for checkpoints without a tokenizer.json.
// Component sentencepiece: link pllava::sentencepiece.
#pragma once

#include <filesystem>

#include "pllava/text/tokenizer.hpp"

namespace pllava {

/// Reads a SentencePiece BPE model. Encodes like the SentencePiece library, with two additions of
/// the reference's tokenizer: control pieces (`<s>`, `</s>`) and added tokens are matched in the
/// text. Added tokens come from the directory of the model: `added_tokens_decoder` in
/// `tokenizer_config.json`, else `added_tokens.json`. `add_bos_token` in `tokenizer_config.json`
/// (default true) decides whether BOS starts every text. Throws LoadError: unreadable, not BPE, or
/// a normalizer other than "identity".
Tokenizer tokenizer_from_sentencepiece(const std::filesystem::path& model);

}  // namespace pllava
