// A Tokenizer from a SentencePiece `tokenizer.model`, for checkpoints that bring no tokenizer.json.
// Component sentencepiece: link pllava::sentencepiece.
#pragma once

#include <filesystem>

#include "pllava/text/tokenizer.hpp"

namespace pllava {

/// Reads a SentencePiece BPE model. Text is encoded as the SentencePiece library does it, with the
/// conventions of the reference's fast tokenizer on top: the model's control pieces (`<s>`, `</s>`)
/// and the tokens that files beside the model add (`added_tokens.json`, or `added_tokens_decoder`
/// in `tokenizer_config.json`) are found in the text. `add_bos_token` of `tokenizer_config.json`
/// says whether BOS comes first; without it, it does. Throws LoadError: unreadable, not BPE, or a
/// normaliser other than "identity".
Tokenizer tokenizer_from_sentencepiece(const std::filesystem::path& model);

}  // namespace pllava
