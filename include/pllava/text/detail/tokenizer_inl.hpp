// Bodies of tokenizer.hpp: reading tokenizer.json, finding added tokens, merging pairs, decoding.
#pragma once

#include <array>
#include <fstream>
#include <iterator>
#include <limits>
#include <new>
#include <queue>
#include <unordered_map>
#include <utility>

#include <nlohmann/json.hpp>

#include "pllava/text/detail/utf8.hpp"
#include "pllava/text/tokenizer.hpp"

namespace pllava {
namespace detail {

constexpr std::int32_t kNoToken = -1;
constexpr std::int32_t kMaxTokenId = (1 << 24) - 1;  // a larger id is a damaged file

/// A stretch of text that is an added token (id >= 0) or lies between two.
struct TextSpan {
  std::size_t begin;
  std::size_t end;
  std::int32_t id;
};

/// Finds added tokens: at the leftmost place one begins, the longest.
class AddedTokenFinder {
 public:
  void add(std::string_view pattern, const AddedToken& token) {
    std::uint32_t node = 0;
    for (const char c : pattern) {
      const auto [edge, is_new] = edges_.try_emplace(edge_key(node, c), nodes_);
      if (is_new) ++nodes_;
      node = edge->second;
    }
    ends_.insert_or_assign(node, &token);
    starts_[static_cast<unsigned char>(pattern[0])] = true;
  }

  /// Cuts `text` (valid UTF-8) at the tokens; the spans that are not empty, in order.
  std::vector<TextSpan> split(std::string_view text) const {
    std::vector<TextSpan> spans;
    std::size_t done = 0;
    for (std::size_t i = 0; i < text.size();) {
      const auto [token, length] = match(text, i);
      if (!token) {
        ++i;
        continue;
      }
      std::size_t begin = i;
      std::size_t end = i + length;
      if (token->lstrip) begin = skip_spaces_left(text, begin, done);
      if (token->rstrip) end = skip_spaces_right(text, end);
      if (done < begin) spans.push_back({done, begin, kNoToken});
      spans.push_back({begin, end, token->id});
      i = done = end;
    }
    if (done < text.size()) spans.push_back({done, text.size(), kNoToken});
    return spans;
  }

 private:
  static std::uint64_t edge_key(std::uint32_t node, char c) {
    return std::uint64_t{node} << 8 | static_cast<unsigned char>(c);
  }

  std::pair<const AddedToken*, std::size_t> match(std::string_view text, std::size_t at) const {
    std::pair<const AddedToken*, std::size_t> longest{nullptr, 0};
    if (!starts_[static_cast<unsigned char>(text[at])]) return longest;
    std::uint32_t node = 0;
    for (std::size_t i = at; i < text.size(); ++i) {
      const auto edge = edges_.find(edge_key(node, text[i]));
      if (edge == edges_.end()) break;
      node = edge->second;
      if (const auto end = ends_.find(node); end != ends_.end())
        longest = {end->second, i + 1 - at};
    }
    return longest;
  }

  static std::size_t skip_spaces_left(std::string_view text, std::size_t i, std::size_t limit) {
    while (i > limit) {
      const std::size_t previous = utf8_previous(text, i);
      if (!is_white_space(utf8_code(text.substr(previous, i - previous)))) break;
      i = previous;
    }
    return i;
  }

  static std::size_t skip_spaces_right(std::string_view text, std::size_t i) {
    while (i < text.size()) {
      const std::size_t n = utf8_length(text, i);
      if (!is_white_space(utf8_code(text.substr(i, n)))) break;
      i += n;
    }
    return i;
  }

  std::unordered_map<std::uint64_t, std::uint32_t> edges_;  // a trie over bytes
  std::unordered_map<std::uint32_t, const AddedToken*> ends_;
  std::array<bool, 256> starts_{};
  std::uint32_t nodes_ = 1;
};

PLLAVA_INLINE std::string rewrite(std::string text, const TextRewrite& step) {
  if (step.from.empty()) return text.empty() ? text : step.to + text;
  std::string result;
  std::size_t done = 0;
  for (std::size_t at; (at = text.find(step.from, done)) != std::string::npos;
       done = at + step.from.size()) {
    result.append(text, done, at - done).append(step.to);
  }
  return result.append(text, done);
}

PLLAVA_INLINE std::string rewrite(std::string text, const std::vector<TextRewrite>& steps) {
  for (const TextRewrite& step : steps) text = rewrite(std::move(text), step);
  return text;
}

/// "<0x0A>" for 10.
PLLAVA_INLINE std::string byte_token(unsigned byte) {
  constexpr std::string_view digits = "0123456789ABCDEF";
  return {'<', '0', 'x', digits[byte >> 4], digits[byte & 15u], '>'};
}

/// The byte that a token such as "<0x0A>" stands for; -1 for other tokens.
PLLAVA_INLINE int byte_of(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return -1;
  int value = 0;
  for (const char c : token.substr(3, 2)) {
    const int digit = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                             : -1;
    if (digit < 0) return -1;
    value = value * 16 + digit;
  }
  return value;
}

}  // namespace detail

/// The parts, checked and indexed. Views and pointers lead into `parts`, which stays in place.
struct Tokenizer::Model {
  struct Merge {
    std::int32_t rank;
    std::int32_t id;
  };
  struct Output {      // what decode() makes of an id
    std::string text;  // empty for ids without a token
    int byte = -1;     // value of a byte token
    bool special = false;
    bool known = false;
  };

  explicit Model(TokenizerParts p) : parts(std::move(p)) {
    index_vocab();
    index_added();
    index_merges();
    index_bytes();
    for (const std::int32_t id : parts.prefix) {
      if (!known(id)) fail("unknown id in front of every text", "prefix", "a token's id", id);
    }
    if (parts.strip_count > 0 && detail::utf8_length(parts.strip, 0) != parts.strip.size()) {
      fail("cannot strip this from decoded text", "strip", "one character", parts.strip);
    }
  }
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  bool known(std::int32_t id) const noexcept {
    return id >= 0 && static_cast<std::size_t>(id) < outputs.size() &&
           outputs[static_cast<std::size_t>(id)].known;
  }

  std::int32_t find(std::string_view token) const {
    const auto entry = ids.find(token);
    return entry == ids.end() ? detail::kNoToken : entry->second;
  }

  /// Ids of a segment: pre-tokenised, then merged. `first`: the text itself begins here.
  void encode_segment(std::string_view text, bool first, std::vector<std::int32_t>& out) const {
    if (!parts.metaspace) return merge(text, out);
    const Metaspace& meta = *parts.metaspace;
    std::string spaced = detail::rewrite(std::string(text), {" ", meta.replacement});
    const bool prepend = meta.prepend == Metaspace::Prepend::always ||
                         (meta.prepend == Metaspace::Prepend::first && first);
    if (prepend && !spaced.starts_with(meta.replacement)) spaced.insert(0, meta.replacement);
    if (!meta.split) return merge(spaced, out);
    const std::string_view all = spaced;
    for (std::size_t begin = 0; begin < all.size();) {
      const std::size_t next = all.find(meta.replacement, begin + 1);
      const std::size_t end = next == std::string_view::npos ? all.size() : next;
      merge(all.substr(begin, end - begin), out);
      begin = end;
    }
  }

  /// Byte-pair encoding of `text`. The heap holds every pair that could be merged when it came to
  /// be; entries whose symbols have since changed into another pair are dropped when they surface.
  void merge(std::string_view text, std::vector<std::int32_t>& out) const {
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
      bool operator<(const Candidate& other) const {  // the best is on top of a max-heap
        return rank != other.rank ? rank > other.rank : left > other.left;
      }
    };
    if (text.size() > static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max())) {
      throw PromptError("the text is longer than 2 GiB");
    }

    std::vector<Symbol> symbols;
    symbols.reserve(text.size());
    const auto append = [&](std::int32_t id) {
      const auto i = static_cast<std::int32_t>(symbols.size());
      symbols.push_back({id, i - 1, i + 1, true});
    };
    bool after_unk = false;
    for (std::size_t i = 0, n = 0; i < text.size(); i += n) {
      n = detail::utf8_length(text, i);
      const std::string_view character = text.substr(i, n);
      const std::int32_t id = find(character);
      const bool unknown = id == detail::kNoToken;
      if (!unknown) {
        append(id);
      } else if (parts.byte_fallback) {
        for (const char c : character) append(bytes[static_cast<unsigned char>(c)]);
      } else if (!after_unk || !parts.fuse_unk) {
        append(unk);
      }
      after_unk = unknown;
    }
    const auto at = [&](std::int32_t i) -> Symbol& { return symbols[static_cast<std::size_t>(i)]; };
    const auto end = static_cast<std::int32_t>(symbols.size());

    std::vector<Candidate> heap;
    const auto merge_of = [&](std::int32_t left) -> const Merge* {
      if (left < 0 || at(left).next >= end) return nullptr;
      const auto entry = merges.find(pair_key(at(left).id, at(at(left).next).id));
      return entry == merges.end() ? nullptr : &entry->second;
    };
    for (std::int32_t i = 0; i + 1 < end; ++i) {
      if (const Merge* m = merge_of(i)) heap.push_back({m->rank, i, m->id});
    }
    std::priority_queue<Candidate> queue({}, std::move(heap));
    while (!queue.empty()) {
      const Candidate top = queue.top();
      queue.pop();
      Symbol& left = at(top.left);
      if (!left.alive) continue;
      const Merge* current = merge_of(top.left);
      if (!current || current->id != top.id) continue;
      at(left.next).alive = false;
      left.id = top.id;
      left.next = at(left.next).next;
      if (left.next < end) at(left.next).previous = top.left;
      for (const std::int32_t i : {left.previous, top.left}) {
        if (const Merge* m = merge_of(i)) queue.push({m->rank, i, m->id});
      }
    }
    for (std::int32_t i = 0; i < end; i = at(i).next) out.push_back(at(i).id);
  }

  TokenizerParts parts;
  std::unordered_map<std::string_view, std::int32_t> ids;  // of the vocabulary and added tokens
  std::unordered_map<std::uint64_t, Merge> merges;
  std::vector<std::string> added_patterns;
  detail::AddedTokenFinder raw;         // added tokens to find in the text as it is
  detail::AddedTokenFinder normalized;  // and in the normalised text
  std::vector<Output> outputs;
  std::array<std::int32_t, 256> bytes{};
  std::int32_t unk = detail::kNoToken;

 private:
  static std::uint64_t pair_key(std::int32_t a, std::int32_t b) {
    return std::uint64_t{static_cast<std::uint32_t>(a)} << 32 | static_cast<std::uint32_t>(b);
  }

  [[noreturn]] void fail(const std::string& problem, std::string key, std::string expected,
                         std::string got) const {
    throw LoadError(problem, {parts.source, std::move(key), std::move(expected), std::move(got)});
  }
  [[noreturn]] void fail(const std::string& problem, std::string key, std::string expected,
                         std::int32_t id) const {
    fail(problem, std::move(key), std::move(expected), std::to_string(id));
  }

  void set_output(std::int32_t id, const std::string& token, bool special) {
    if (static_cast<std::size_t>(id) >= outputs.size()) {
      outputs.resize(static_cast<std::size_t>(id) + 1);
    }
    std::string text = detail::rewrite(token, parts.decoder);
    const int byte = parts.decode_bytes ? detail::byte_of(text) : -1;
    outputs[static_cast<std::size_t>(id)] = {std::move(text), byte, special, true};
  }

  void index_vocab() {
    if (parts.vocab.size() > static_cast<std::size_t>(detail::kMaxTokenId) + 1) {
      fail("the vocabulary is too large", "vocab",
           "ids up to " + std::to_string(detail::kMaxTokenId), std::to_string(parts.vocab.size()));
    }
    ids.reserve(parts.vocab.size() + parts.added.size());
    outputs.resize(parts.vocab.size());
    for (std::size_t i = 0; i < parts.vocab.size(); ++i) {
      const std::string& token = parts.vocab[i];
      if (token.empty()) continue;
      const auto id = static_cast<std::int32_t>(i);
      if (const auto [entry, is_new] = ids.try_emplace(token, id); !is_new) {
        fail("token \"" + token + "\" has two ids", "vocab", std::to_string(entry->second), id);
      }
      set_output(id, token, false);
    }
  }

  void index_added() {
    added_patterns.reserve(parts.added.size());
    for (const AddedToken& token : parts.added) {
      const std::string key = "added_tokens";
      if (token.text.empty()) fail("an added token is empty", key, "some text", token.id);
      if (token.id < 0 || token.id > detail::kMaxTokenId) {
        fail("added token \"" + token.text + "\" has no valid id", key,
             "0 to " + std::to_string(detail::kMaxTokenId), token.id);
      }
      const auto [entry, is_new] = ids.try_emplace(token.text, token.id);
      if (!is_new && entry->second != token.id) {
        fail("token \"" + token.text + "\" has two ids", key, std::to_string(entry->second),
             token.id);
      }
      if (is_new && known(token.id)) {
        fail("added token \"" + token.text + "\" has another token's id", key, "an id of its own",
             token.id);
      }
      set_output(token.id, token.text, token.special);
      added_patterns.push_back(token.normalized ? detail::rewrite(token.text, parts.normalizer)
                                                : token.text);
      if (!added_patterns.back().empty()) {
        (token.normalized ? normalized : raw).add(added_patterns.back(), token);
      }
    }
  }

  void index_merges() {
    merges.reserve(parts.merges.size());
    for (std::size_t i = 0; i < parts.merges.size(); ++i) {
      const TokenMerge& m = parts.merges[i];
      const auto id_in_vocab = [&](const std::string& token) {
        const std::int32_t id = find(token);
        if (id == detail::kNoToken) {
          fail("a merge names an unknown token", "merges[" + std::to_string(i) + "]",
               "tokens of the vocabulary", "\"" + token + "\"");
        }
        return id;
      };
      const std::int32_t left = id_in_vocab(m.left);
      const std::int32_t right = id_in_vocab(m.right);
      merges.insert_or_assign(pair_key(left, right), Merge{m.rank, id_in_vocab(m.left + m.right)});
    }
    parts.merges = {};  // only the index is needed from here on
  }

  void index_bytes() {
    if (parts.byte_fallback) {
      for (unsigned b = 0; b < 256; ++b) {
        bytes[b] = find(detail::byte_token(b));
        if (bytes[b] == detail::kNoToken) {
          fail("byte_fallback without all byte tokens", "vocab", detail::byte_token(b),
               std::string("no such token"));
        }
      }
      return;
    }
    unk = find(parts.unk);
    if (unk == detail::kNoToken) {
      fail("characters outside the vocabulary have no token", "unk_token",
           "a token of the vocabulary, or byte_fallback", "\"" + parts.unk + "\"");
    }
  }
};

namespace detail {

/// A tokenizer.json being read: every complaint names the file and the key.
class TokenizerFile {
 public:
  using Json = nlohmann::json;

  explicit TokenizerFile(const std::filesystem::path& path) : file_(path.string()) {
    std::ifstream in(path, std::ios::binary);
    if (!in) throw LoadError("cannot open the tokenizer", {file_, "", "", ""});
    try {
      const std::string text{std::istreambuf_iterator<char>(in), {}};
      root_ = Json::parse(text);
    } catch (const Json::exception& e) {
      throw LoadError("not valid JSON", {file_, "", "", e.what()});
    } catch (const std::ios_base::failure&) {
      throw LoadError("cannot read the tokenizer", {file_, "", "", ""});
    } catch (const std::bad_alloc&) {
      throw OutOfMemoryError("reading " + file_, file_size(path));
    }
  }

  TokenizerParts parts() {
    TokenizerParts parts;
    parts.source = file_;
    if (!root_.is_object()) fail("", "an object", root_);
    const Json& model = member(root_, "", "model");
    read_model(model, parts);
    read_vocab(member(model, "model", "vocab"), parts);
    read_merges(member(model, "model", "merges"), parts);
    read_added(optional(root_, "added_tokens"), parts);
    read_normalizer(optional(root_, "normalizer"), parts);
    read_pre_tokenizer(optional(root_, "pre_tokenizer"), parts);
    read_post_processor(optional(root_, "post_processor"), parts);
    read_decoder(member(root_, "", "decoder"), parts);
    return parts;
  }

 private:
  static std::uint64_t file_size(const std::filesystem::path& path) {
    std::error_code ignored;
    const auto size = std::filesystem::file_size(path, ignored);
    return ignored ? 0 : size;
  }

  [[noreturn]] void fail(const std::string& key, const std::string& expected,
                         const Json& got) const {
    // Only values without depth are printed: a damaged file may nest as deep as it likes.
    std::string text = got.is_array()    ? "an array"
                       : got.is_object() ? "an object"
                                         : got.dump(-1, ' ', true, Json::error_handler_t::replace);
    if (text.size() > 80) text = text.substr(0, 77) + "...";
    throw LoadError("unsupported tokenizer", {file_, key, expected, text});
  }

  static std::string join(const std::string& parent, const std::string& key) {
    return parent.empty() ? key : parent + "." + key;
  }

  const Json& optional(const Json& object, const char* key) const {
    static const Json null;
    const auto entry = object.find(key);
    return entry == object.end() ? null : *entry;
  }

  const Json& member(const Json& object, const std::string& parent, const char* key) const {
    if (!object.is_object()) fail(parent, "an object", object);
    const auto entry = object.find(key);
    if (entry == object.end()) fail(join(parent, key), "a value", "nothing");
    return *entry;
  }

  std::string string_at(const Json& object, const std::string& parent, const char* key) const {
    const Json& value = member(object, parent, key);
    if (!value.is_string()) fail(join(parent, key), "a string", value);
    return value.get<std::string>();
  }

  bool flag_at(const Json& object, const std::string& parent, const char* key) const {
    const Json& value = optional(object, key);
    if (value.is_null()) return false;
    if (!value.is_boolean()) fail(join(parent, key), "true or false", value);
    return value.get<bool>();
  }

  std::int32_t id_from(const Json& value, const std::string& key) const {
    if (!value.is_number_integer() || value.get<double>() < 0 ||
        value.get<double>() > kMaxTokenId) {
      fail(key, "an id from 0 to " + std::to_string(kMaxTokenId), value);
    }
    return value.get<std::int32_t>();
  }

  void read_model(const Json& model, TokenizerParts& parts) const {
    // Files from before the key existed leave the type out; `merges` then tells BPE from the rest.
    if (const Json& type = optional(model, "type"); !type.is_null() && type != "BPE") {
      fail("model.type", "\"BPE\"", type);
    }
    for (const char* key : {"dropout", "continuing_subword_prefix", "end_of_word_suffix"}) {
      const Json& value = optional(model, key);
      const bool off = value.is_null() ||
                       (value.is_string() && value.get_ref<const std::string&>().empty()) ||
                       (value.is_number() && value.get<double>() == 0.0);
      if (!off) fail(join("model", key), "null", value);
    }
    if (flag_at(model, "model", "ignore_merges")) fail("model.ignore_merges", "false", true);
    parts.byte_fallback = flag_at(model, "model", "byte_fallback");
    parts.fuse_unk = flag_at(model, "model", "fuse_unk");
    if (!optional(model, "unk_token").is_null()) {
      parts.unk = string_at(model, "model", "unk_token");
    }
  }

  void read_vocab(const Json& vocab, TokenizerParts& parts) const {
    if (!vocab.is_object()) fail("model.vocab", "an object of token: id", vocab);
    for (const auto& [token, value] : vocab.items()) {
      const std::string key = "model.vocab[\"" + token + "\"]";
      const auto id = static_cast<std::size_t>(id_from(value, key));
      if (token.empty()) fail(key, "a token that is not empty", value);
      if (id >= parts.vocab.size()) parts.vocab.resize(id + 1);
      if (!parts.vocab[id].empty()) {
        fail(key, "an id that \"" + parts.vocab[id] + "\" does not have", value);
      }
      parts.vocab[id] = token;
    }
  }

  void read_merges(const Json& merges, TokenizerParts& parts) const {
    if (!merges.is_array()) fail("model.merges", "an array", merges);
    parts.merges.reserve(merges.size());
    for (const Json& merge : merges) {
      TokenMerge m;
      m.rank = static_cast<std::int32_t>(parts.merges.size());
      if (merge.is_string()) {
        const auto& text = merge.get_ref<const std::string&>();
        const std::size_t space = text.find(' ');
        if (space == std::string::npos || text.find(' ', space + 1) != std::string::npos) {
          fail(merge_key(m.rank), "two tokens with one space between", merge);
        }
        m.left = text.substr(0, space);
        m.right = text.substr(space + 1);
      } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() &&
                 merge[1].is_string()) {
        m.left = merge[0].get<std::string>();
        m.right = merge[1].get<std::string>();
      } else {
        fail(merge_key(m.rank), "\"left right\" or [left, right]", merge);
      }
      parts.merges.push_back(std::move(m));
    }
  }

  static std::string merge_key(std::int32_t i) { return "model.merges[" + std::to_string(i) + "]"; }

  void read_added(const Json& added, TokenizerParts& parts) const {
    if (added.is_null()) return;
    if (!added.is_array()) fail("added_tokens", "an array", added);
    for (std::size_t i = 0; i < added.size(); ++i) {
      const std::string key = "added_tokens[" + std::to_string(i) + "]";
      const Json& entry = added[i];
      AddedToken token;
      token.id = id_from(member(entry, key, "id"), key + ".id");
      token.text = string_at(entry, key, "content");
      token.special = flag_at(entry, key, "special");
      token.normalized = flag_at(entry, key, "normalized");
      token.lstrip = flag_at(entry, key, "lstrip");
      token.rstrip = flag_at(entry, key, "rstrip");
      if (flag_at(entry, key, "single_word")) fail(key + ".single_word", "false", true);
      parts.added.push_back(std::move(token));
    }
  }

  /// {"type": "Replace", "pattern": {"String": ...}, "content": ...}
  TextRewrite replacement(const Json& step, const std::string& key) const {
    const Json& pattern = member(step, key, "pattern");
    TextRewrite rewrite{string_at(pattern, key + ".pattern", "String"),
                        string_at(step, key, "content")};
    if (rewrite.from.empty()) fail(key + ".pattern", "a string that is not empty", pattern);
    return rewrite;
  }

  /// Calls `read(step, key)` for the steps of a Sequence (which does not nest), or for the one.
  template <class Read>
  void for_each_step(const Json& step, const std::string& key, const char* list,
                     const Read& read) const {
    if (!step.is_object() || optional(step, "type") != "Sequence") return read(step, key);
    const Json& steps = member(step, key, list);
    if (!steps.is_array()) fail(join(key, list), "an array", steps);
    for (std::size_t i = 0; i < steps.size(); ++i) {
      read(steps[i], join(key, list) + "[" + std::to_string(i) + "]");
    }
  }

  void read_normalizer(const Json& normalizer, TokenizerParts& parts) const {
    if (normalizer.is_null()) return;
    for_each_step(normalizer, "normalizer", "normalizers",
                  [&](const Json& step, const std::string& key) {
                    const std::string type = string_at(step, key, "type");
                    if (type == "Prepend") {
                      parts.normalizer.push_back({"", string_at(step, key, "prepend")});
                    } else if (type == "Replace") {
                      parts.normalizer.push_back(replacement(step, key));
                    } else {
                      fail(key + ".type", "Prepend, Replace or one Sequence of them", type);
                    }
                  });
  }

  void read_pre_tokenizer(const Json& step, TokenizerParts& parts) const {
    if (step.is_null()) return;
    const std::string key = "pre_tokenizer";
    if (const std::string type = string_at(step, key, "type"); type != "Metaspace") {
      fail("pre_tokenizer.type", "null or Metaspace", type);
    }
    Metaspace meta;
    meta.replacement = string_at(step, key, "replacement");
    if (meta.replacement.empty()) fail(key + ".replacement", "one character", "");
    const Json& scheme = optional(step, "prepend_scheme");
    if (scheme == "first") {
      meta.prepend = Metaspace::Prepend::first;
    } else if (scheme == "never") {
      meta.prepend = Metaspace::Prepend::never;
    } else if (!scheme.is_null() && scheme != "always") {
      fail(key + ".prepend_scheme", "first, always or never", scheme);
    }
    if (optional(step, "add_prefix_space") == false) meta.prepend = Metaspace::Prepend::never;
    if (!optional(step, "split").is_null()) meta.split = flag_at(step, key, "split");
    parts.metaspace = std::move(meta);
  }

  void read_post_processor(const Json& step, TokenizerParts& parts) const {
    if (step.is_null()) return;
    const std::string key = "post_processor";
    if (const std::string type = string_at(step, key, "type"); type != "TemplateProcessing") {
      fail("post_processor.type", "null or TemplateProcessing", type);
    }
    const Json& pieces = member(step, key, "single");
    if (!pieces.is_array()) fail("post_processor.single", "an array", pieces);
    bool text_seen = false;
    for (const Json& piece : pieces) {
      if (piece.contains("Sequence") && !text_seen) {
        text_seen = true;
      } else if (piece.contains("SpecialToken") && !text_seen) {
        const Json& table = member(step, key, "special_tokens");
        const std::string name = string_at(piece["SpecialToken"], "post_processor.single", "id");
        const std::string entry_key = "post_processor.special_tokens";
        const Json& ids = member(member(table, entry_key, name.c_str()), entry_key, "ids");
        if (!ids.is_array()) fail(entry_key, "an array of ids", ids);
        for (const Json& id : ids) parts.prefix.push_back(id_from(id, entry_key));
      } else {
        fail("post_processor.single", "special tokens in front of one text only", pieces);
      }
    }
    if (!text_seen) fail("post_processor.single", "a place for the text", pieces);
  }

  /// Replace..., ByteFallback, Fuse, Strip, in this order; Strip works on the fused text.
  void read_decoder(const Json& decoder, TokenizerParts& parts) const {
    const std::string order = "Replace, ByteFallback, Fuse, Strip in this order";
    enum Stage { replace, byte_fallback, fuse, strip } stage = replace;
    const auto enter = [&](Stage next, const Json& step) {
      if (next < stage || (next == strip && stage != fuse)) fail("decoder", order, step["type"]);
      stage = next;
    };
    for_each_step(decoder, "decoder", "decoders", [&](const Json& step, const std::string& key) {
      const std::string type = string_at(step, key, "type");
      if (type == "Replace") {
        enter(replace, step);
        parts.decoder.push_back(replacement(step, key));
      } else if (type == "ByteFallback") {
        enter(byte_fallback, step);
        parts.decode_bytes = true;
      } else if (type == "Fuse") {
        enter(fuse, step);
      } else if (type == "Strip") {
        enter(strip, step);
        parts.strip = string_at(step, key, "content");
        parts.strip_count = id_from(member(step, key, "start"), key + ".start");
        if (const Json& stop = member(step, key, "stop"); stop != 0) fail(key + ".stop", "0", stop);
      } else {
        fail(key + ".type", order, type);
      }
    });
  }

  std::string file_;
  Json root_;
};

}  // namespace detail

PLLAVA_INLINE Tokenizer::Tokenizer(TokenizerParts parts)
    : model_(std::make_shared<const Model>(std::move(parts))) {}

PLLAVA_INLINE Tokenizer Tokenizer::from_file(const std::filesystem::path& path) {
  return Tokenizer(detail::TokenizerFile(path).parts());
}

PLLAVA_INLINE Tokenizer Tokenizer::from_directory(const std::filesystem::path& directory) {
  return from_file(directory / "tokenizer.json");
}

PLLAVA_INLINE Tokenizer Tokenizer::bytes(Index image_token) {
  if (image_token < 259)
    throw ArgumentError("a tokenizer of bytes has its image token at 259 or above, not at " +
                        std::to_string(image_token));
  TokenizerParts parts;
  parts.source = "bytes";
  parts.vocab.resize(static_cast<std::size_t>(image_token) + 1);
  const auto add_special = [&](Index id, const char* text) {
    parts.vocab[static_cast<std::size_t>(id)] = text;
    parts.added.push_back({static_cast<std::int32_t>(id), text, true});
  };
  add_special(0, "<unk>"), add_special(1, "<s>"), add_special(2, "</s>");
  add_special(image_token, "<image>");
  for (std::size_t b = 0; b < 256; ++b) {
    const char* digits = "0123456789ABCDEF";
    parts.vocab[3 + b] = std::string("<0x") + digits[b / 16] + digits[b % 16] + ">";
  }
  parts.unk = "<unk>";
  parts.byte_fallback = parts.decode_bytes = true;
  parts.prefix = {1};
  return Tokenizer(std::move(parts));
}

PLLAVA_INLINE std::vector<std::int32_t> Tokenizer::encode(std::string_view text,
                                                          EncodeOptions options) const {
  if (const std::size_t bad = detail::utf8_error(text); bad != text.size()) {
    throw PromptError("the text is not UTF-8: byte " + std::to_string(bad) + " is " +
                      detail::byte_token(static_cast<unsigned char>(text[bad])).substr(1, 4));
  }
  const Model& model = *model_;
  std::vector<std::int32_t> ids;
  if (options.bos) ids = model.parts.prefix;
  for (const detail::TextSpan& outer : model.raw.split(text)) {
    if (outer.id != detail::kNoToken) {
      ids.push_back(outer.id);
      continue;
    }
    const std::string segment = detail::rewrite(
        std::string(text.substr(outer.begin, outer.end - outer.begin)), model.parts.normalizer);
    for (const detail::TextSpan& inner : model.normalized.split(segment)) {
      if (inner.id != detail::kNoToken) {
        ids.push_back(inner.id);
        continue;
      }
      const bool first = outer.begin == 0 && inner.begin == 0 && !options.continues;
      model.encode_segment(std::string_view(segment).substr(inner.begin, inner.end - inner.begin),
                           first, ids);
    }
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

PLLAVA_INLINE std::string_view Tokenizer::token(std::int32_t id) const {
  if (!model_->known(id)) throw ArgumentError("no token has the id " + std::to_string(id));
  for (const AddedToken& token : model_->parts.added) {
    if (token.id == id) return token.text;
  }
  return model_->parts.vocab[static_cast<std::size_t>(id)];
}

PLLAVA_INLINE bool Tokenizer::is_special(std::int32_t id) const noexcept {
  return model_->known(id) && model_->outputs[static_cast<std::size_t>(id)].special;
}

PLLAVA_INLINE std::optional<std::int32_t> Tokenizer::bos_id() const noexcept {
  if (model_->parts.prefix.empty()) return std::nullopt;
  return model_->parts.prefix.front();
}

PLLAVA_INLINE Index Tokenizer::size() const noexcept {
  return static_cast<Index>(model_->outputs.size());
}

PLLAVA_INLINE StreamDecoder::StreamDecoder(Tokenizer tokenizer, DecodeOptions options)
    : tokenizer_(std::move(tokenizer)),
      skip_special_(options.skip_special),
      to_strip_(options.continues ? 0 : tokenizer_.model_->parts.strip_count) {}

PLLAVA_INLINE std::string StreamDecoder::push(std::int32_t id) {
  const Tokenizer::Model& model = *tokenizer_.model_;
  if (!model.known(id)) return {};
  const auto& output = model.outputs[static_cast<std::size_t>(id)];
  if (output.special && skip_special_) return {};
  if (output.byte >= 0) {
    bytes_ += static_cast<char>(output.byte);
    return {};
  }
  std::string text = flush();
  return text += strip(output.text);
}

PLLAVA_INLINE std::string StreamDecoder::flush() {
  std::string text = std::exchange(bytes_, {});
  if (detail::utf8_error(text) != text.size()) {
    std::string replaced;
    for (std::size_t i = 0; i < text.size(); ++i) replaced += "\uFFFD";
    text = std::move(replaced);
  }
  return strip(std::move(text));
}

PLLAVA_INLINE std::string StreamDecoder::strip(std::string text) {
  const std::string& character = tokenizer_.model_->parts.strip;
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
