// Byte-pair encoding of a text segment that contains no added token.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <queue>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "pllava/error.hpp"
#include "pllava/text/detail/byte_tokens.hpp"
#include "pllava/text/detail/token_ids.hpp"
#include "pllava/text/detail/utf8.hpp"
#include "pllava/text/tokenizer_parts.hpp"

namespace pllava::detail {

/// The merge table with byte fallback and unknown tokens. Two or more characters never become a
/// special token: these are matched before BPE, or are plain text on request. Refers to `ids`,
/// which must outlive it.
class Bpe {
 public:
  Bpe() = default;
  /// Throws LoadError: a merge of an unknown token, a missing byte token or unknown token.
  Bpe(const TokenizerParts& parts, const TokenIds& ids)
      : ids_(&ids),
        byte_fallback_(parts.byte_fallback),
        fuse_unk_(parts.fuse_unk),
        ignore_merges_(parts.ignore_merges) {
    for (const AddedToken& token : parts.added_tokens) {
      if (token.special) special_.insert(token.id);
    }
    index_merges(parts);
    if (byte_fallback_) {
      find_byte_tokens(parts);
    } else if (!parts.byte_level || !parts.unk_token.empty()) {
      find_unk_token(parts);
    }
  }

  /// Appends the ids of `text` (valid UTF-8) to `out`, in O(n log n). Throws PromptError for a text
  /// of more than 2 GiB.
  void encode(std::string_view text, std::vector<std::int32_t>& out) const {
    if (text.size() > static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max())) {
      throw PromptError("the text is longer than 2 GiB");
    }
    if (ignore_merges_) {
      if (const std::int32_t id = find_token(*ids_, text);
          id != kNoToken && !special_.contains(id)) {
        out.push_back(id);
        return;
      }
    }
    std::vector<Symbol> symbols = split_characters(text);
    merge(symbols);
    const auto end = static_cast<std::int32_t>(symbols.size());
    for (std::int32_t i = 0; i < end; i = symbols[static_cast<std::size_t>(i)].next) {
      out.push_back(symbols[static_cast<std::size_t>(i)].id);
    }
  }

 private:
  struct Merge {
    std::int32_t rank;
    std::int32_t id;
  };
  /// A node of a doubly linked list inside a vector. A merge keeps the left node.
  struct Symbol {
    std::int32_t id;
    std::int32_t previous;
    std::int32_t next;
    bool alive;
  };
  struct Candidate {
    std::int32_t rank;
    std::int32_t left;
    std::int32_t id;
    bool operator<(const Candidate& other) const {  // lowest rank, then leftmost, at the heap's top
      return rank != other.rank ? rank > other.rank : left > other.left;
    }
  };

  static std::uint64_t pair_key(std::int32_t a, std::int32_t b) {
    return std::uint64_t{static_cast<std::uint32_t>(a)} << 32 | static_cast<std::uint32_t>(b);
  }

  void index_merges(const TokenizerParts& parts) {
    merges_.reserve(parts.merges.size());
    for (std::size_t i = 0; i < parts.merges.size(); ++i) {
      const TokenMerge& m = parts.merges[i];
      const auto id_in_vocab = [&](const std::string& token) {
        const std::int32_t id = find_token(*ids_, token);
        if (id == kNoToken) {
          throw LoadError("a merge names an unknown token",
                          {parts.source, "merges[" + std::to_string(i) + "]",
                           "tokens of the vocabulary", "\"" + token + "\""});
        }
        return id;
      };
      const std::int32_t left = id_in_vocab(m.left);
      const std::int32_t right = id_in_vocab(m.right);
      const std::int32_t id = id_in_vocab(m.left + m.right);
      if (!special_.contains(id))
        merges_.insert_or_assign(pair_key(left, right), Merge{m.rank, id});
    }
  }

  void find_byte_tokens(const TokenizerParts& parts) {
    for (unsigned b = 0; b < 256; ++b) {
      byte_ids_[b] = find_token(*ids_, byte_token(b));
      if (byte_ids_[b] == kNoToken) {
        throw LoadError("byte_fallback without all byte tokens",
                        {parts.source, "vocab", byte_token(b), "no such token"});
      }
    }
  }

  void find_unk_token(const TokenizerParts& parts) {
    unk_id_ = find_token(*ids_, parts.unk_token);
    if (unk_id_ == kNoToken) {
      throw LoadError("characters outside the vocabulary have no token",
                      {parts.source, "unk_token", "a token of the vocabulary, or byte_fallback",
                       "\"" + parts.unk_token + "\""});
    }
  }

  /// One symbol per character; a character outside the vocabulary becomes its bytes or `unk_token`.
  std::vector<Symbol> split_characters(std::string_view text) const {
    std::vector<Symbol> symbols;
    symbols.reserve(text.size());
    const auto append = [&](std::int32_t id) {
      const auto i = static_cast<std::int32_t>(symbols.size());
      symbols.push_back({id, i - 1, i + 1, true});
    };
    bool after_unknown = false;
    for (std::size_t i = 0, n = 0; i < text.size(); i += n) {
      n = utf8_length(text, i);
      const std::string_view character = text.substr(i, n);
      const std::int32_t id = find_token(*ids_, character);
      const bool unknown = id == kNoToken;
      if (!unknown) {
        append(id);
      } else if (byte_fallback_) {
        for (const char c : character) append(byte_ids_[static_cast<unsigned char>(c)]);
      } else if (unk_id_ != kNoToken && (!after_unknown || !fuse_unk_)) {
        append(unk_id_);
      }
      after_unknown = unknown;
    }
    return symbols;
  }

  /// Merges pairs until no merge applies. The heap holds every adjacent pair that had a merge when
  /// the pair arose; a pair that has changed since is skipped when it is popped.
  void merge(std::vector<Symbol>& symbols) const {
    const auto at = [&](std::int32_t i) -> Symbol& { return symbols[static_cast<std::size_t>(i)]; };
    const auto end = static_cast<std::int32_t>(symbols.size());
    const auto merge_of = [&](std::int32_t left) -> const Merge* {
      if (left < 0 || at(left).next >= end) return nullptr;
      const auto entry = merges_.find(pair_key(at(left).id, at(at(left).next).id));
      return entry == merges_.end() ? nullptr : &entry->second;
    };
    std::vector<Candidate> heap;
    for (std::int32_t i = 0; i + 1 < end; ++i) {
      if (const Merge* m = merge_of(i)) heap.push_back({m->rank, i, m->id});
    }
    std::priority_queue<Candidate> queue({}, std::move(heap));
    while (!queue.empty()) {
      const Candidate best = queue.top();
      queue.pop();
      Symbol& left = at(best.left);
      if (!left.alive) continue;
      const Merge* current = merge_of(best.left);
      if (!current || current->id != best.id) continue;
      at(left.next).alive = false;
      left.id = best.id;
      left.next = at(left.next).next;
      if (left.next < end) at(left.next).previous = best.left;
      for (const std::int32_t i : {left.previous, best.left}) {
        if (const Merge* m = merge_of(i)) queue.push({m->rank, i, m->id});
      }
    }
  }

  const TokenIds* ids_ = nullptr;
  std::unordered_set<std::int32_t> special_;
  bool byte_fallback_ = false;
  bool fuse_unk_ = false;
  bool ignore_merges_ = false;
  std::unordered_map<std::uint64_t, Merge> merges_;  // (left id, right id) -> merge
  std::array<std::int32_t, 256> byte_ids_{};
  std::int32_t unk_id_ = kNoToken;
};

}  // namespace pllava::detail
