// The pieces of a SentencePiece BPE model as TokenizerParts. A tokenizer.model and a GGUF file list
// them with the same kinds.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "pllava/error.hpp"
#include "pllava/text/tokenizer_parts.hpp"

namespace pllava::detail {

enum class PieceKind : std::uint64_t { normal = 1, unknown, control, user_defined, unused, byte };

struct SentencePiece {
  std::string text;
  float score = 0;
  PieceKind kind = PieceKind::normal;
};

/// All pairs of pieces whose concatenation is a piece, ranked by descending score of that piece.
inline std::vector<TokenMerge> merges_of(const std::vector<SentencePiece>& pieces) {
  std::unordered_map<std::string_view, float> score_of;
  std::vector<const SentencePiece*> best_first;
  for (const SentencePiece& piece : pieces) {
    if (piece.kind != PieceKind::normal) continue;
    score_of.emplace(piece.text, piece.score);
    best_first.push_back(&piece);
  }
  std::stable_sort(
      best_first.begin(), best_first.end(),
      [](const SentencePiece* a, const SentencePiece* b) { return a->score > b->score; });
  std::vector<TokenMerge> merges;
  std::int32_t rank = 0;
  for (std::size_t i = 0; i < best_first.size(); ++i) {
    if (i > 0 && best_first[i]->score < best_first[i - 1]->score) ++rank;
    const std::string_view text = best_first[i]->text;
    for (std::size_t cut = 1; cut < text.size(); ++cut) {
      const std::string_view left = text.substr(0, cut), right = text.substr(cut);
      if (score_of.contains(left) && score_of.contains(right))
        merges.push_back({std::string(left), std::string(right), rank});
    }
  }
  return merges;
}

/// The tokenizer of these pieces, without prefix ids. `dummy_prefix`: a space is added before each
/// segment of text. Throws LoadError for an unknown kind.
inline TokenizerParts parts_of_pieces(const std::string& source,
                                      const std::vector<SentencePiece>& pieces, bool dummy_prefix) {
  TokenizerParts parts;
  parts.source = source;
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    const SentencePiece& piece = pieces[i];
    parts.vocab.push_back(piece.text);
    AddedToken token;
    token.id = static_cast<std::int32_t>(i);
    token.content = piece.text;
    switch (piece.kind) {
      case PieceKind::normal: break;
      case PieceKind::byte: parts.byte_fallback = parts.decode_bytes = true; break;
      case PieceKind::user_defined: parts.added_tokens.push_back(token); break;
      case PieceKind::unknown: parts.unk_token = piece.text; [[fallthrough]];
      case PieceKind::control:
        token.special = true;
        parts.added_tokens.push_back(token);
        break;
      case PieceKind::unused: parts.vocab.back().clear(); break;
      default:
        throw LoadError("unsupported SentencePiece model",
                        {source, "pieces", "a kind from 1 (normal) to 6 (byte)",
                         std::to_string(static_cast<std::uint64_t>(piece.kind)) + " for \"" +
                             piece.text + '"'});
    }
  }
  parts.merges = merges_of(pieces);
  parts.fuse_unk = true;
  const std::string space = "\u2581";
  if (dummy_prefix) {
    parts.normalizer.push_back({"", space});
    parts.strip_content = " ";
    parts.strip_count = 1;
  }
  parts.normalizer.push_back({" ", space});
  parts.decoder.push_back({space, " "});
  return parts;
}

}  // namespace pllava::detail
