// Converts a SentencePiece BPE model to TokenizerParts. Tokenizer encodes both file formats.
#include "pllava/text/tokenizer_sentencepiece.hpp"

#include <bit>
#include <charconv>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>
#include <sentencepiece_processor.h>

#include "pllava/io/detail/json_file.hpp"
#include "pllava/io/detail/json_reader.hpp"
#include "pllava/text/detail/sentencepiece_pieces.hpp"
#include "pllava/text/detail/token_ids.hpp"

namespace pllava {
namespace {

/// Iterates over the fields of a serialized protocol buffer message. The SentencePiece library
/// loads and validates the file, but has no accessors for the model type, the normalizer and
/// user-defined pieces, which are therefore parsed from its serialized_model_proto().
class Message {
 public:
  explicit Message(std::string_view bytes) : rest_(bytes) {}

  /// Advances to the next field; false at the end.
  bool next() {
    if (rest_.empty()) return false;
    const std::uint64_t tag = varint();
    field_ = tag >> 3;
    switch (tag & 7) {
      case 0: number_ = varint(); break;
      case 1: bytes_ = take(8); break;
      case 2: bytes_ = take(varint()); break;
      case 5: bytes_ = take(4); break;
      default: throw Error("unknown wire type");
    }
    return true;
  }

  std::uint64_t field() const { return field_; }
  std::uint64_t number() const { return number_; }
  std::string_view bytes() const { return bytes_; }
  float real() const {
    std::uint32_t bits = 0;
    for (std::size_t i = 0; i < bytes_.size() && i < 4; ++i) {
      bits |= std::uint32_t{static_cast<unsigned char>(bytes_[i])} << 8 * i;
    }
    return std::bit_cast<float>(bits);
  }

 private:
  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(take(1)[0]);
      value |= std::uint64_t{byte & 0x7fu} << shift;
      if (byte < 0x80) return value;
    }
    throw Error("a varint is longer than 10 bytes");
  }

  std::string_view take(std::uint64_t n) {
    if (n > rest_.size()) throw Error("a field is truncated");
    const std::string_view taken = rest_.substr(0, n);
    rest_.remove_prefix(n);
    return taken;
  }

  std::string_view rest_;
  std::uint64_t field_ = 0;
  std::uint64_t number_ = 0;
  std::string_view bytes_;
};

/// The used fields of sentencepiece_model.proto, with its defaults.
struct Model {
  static constexpr std::uint64_t kBpe = 2;

  std::vector<detail::SentencePiece> pieces;
  std::uint64_t algorithm = 1;
  bool space_as_suffix = false;
  bool has_character_map = false;
  bool dummy_prefix = true;
  bool squeeze_spaces = true;
  bool escape_spaces = true;
};

Model parse(std::string_view bytes) {
  Model model;
  for (Message top(bytes); top.next();) {
    Message m(top.bytes());
    if (top.field() == 1) {
      detail::SentencePiece piece;
      while (m.next()) {
        if (m.field() == 1) piece.text = m.bytes();
        if (m.field() == 2) piece.score = m.real();
        if (m.field() == 3) piece.kind = static_cast<detail::PieceKind>(m.number());
      }
      model.pieces.push_back(std::move(piece));
    } else if (top.field() == 2) {  // trainer_spec
      while (m.next()) {
        if (m.field() == 3) model.algorithm = m.number();
        if (m.field() == 24) model.space_as_suffix = m.number() != 0;
      }
    } else if (top.field() == 3) {  // normalizer_spec
      while (m.next()) {
        if (m.field() == 2) model.has_character_map = !m.bytes().empty();
        if (m.field() == 3) model.dummy_prefix = m.number() != 0;
        if (m.field() == 4) model.squeeze_spaces = m.number() != 0;
        if (m.field() == 5) model.escape_spaces = m.number() != 0;
      }
    }
  }
  return model;
}

/// The JSON object of a file; an empty object if there is no such file.
detail::JsonDocument read_optional_json(const std::filesystem::path& path) {
  std::error_code error;
  if (std::filesystem::exists(path, error)) return detail::read_json_object(path);
  detail::JsonDocument empty;
  empty.root = nlohmann::json::object();
  return empty;
}

/// Adds a token, or replaces the one with the same content and id.
void add_token(std::vector<AddedToken>& added, AddedToken token) {
  for (AddedToken& known : added) {
    if (known.content == token.content && known.id == token.id) {
      known = std::move(token);
      return;
    }
  }
  added.push_back(std::move(token));
}

/// Adds the tokens of `added_tokens_decoder` in tokenizer_config.json: {"32000": {"content": ...}}.
void read_added_tokens_decoder(const detail::JsonReader& config, std::vector<AddedToken>& added) {
  const detail::JsonReader decoder = config.object("added_tokens_decoder");
  for (const auto& [id, token] : config.find("added_tokens_decoder")->items()) {
    AddedToken t;
    const auto [end, error] = std::from_chars(id.data(), id.data() + id.size(), t.id);
    decoder.require(id.c_str(), error == std::errc() && end == id.data() + id.size(),
                    "an integer as its key");
    const detail::JsonReader entry = decoder.object(id.c_str());
    entry.require("content", entry.find("content") != nullptr, "a string");
    t.content = entry.text("content", "");
    t.special = entry.boolean("special", false);
    t.normalized = entry.boolean("normalized", false);
    t.lstrip = entry.boolean("lstrip", false);
    t.rstrip = entry.boolean("rstrip", false);
    entry.require("single_word", !entry.boolean("single_word", false), "false");
    add_token(added, std::move(t));
  }
}

/// Adds the tokens of the files next to the model. Returns whether BOS starts every text.
bool read_tokenizer_config(const std::filesystem::path& directory, std::vector<AddedToken>& added) {
  const std::filesystem::path config_path = directory / "tokenizer_config.json";
  const detail::JsonDocument config_json = read_optional_json(config_path);
  const detail::JsonReader config(config_json.root, config_path.string());
  if (config.find("added_tokens_decoder") != nullptr) {
    read_added_tokens_decoder(config, added);
  } else {
    const std::filesystem::path added_path = directory / "added_tokens.json";
    const detail::JsonDocument tokens = read_optional_json(added_path);
    const detail::JsonReader reader(tokens.root, added_path.string());
    for (const auto& [text, id] : tokens.root.items()) {
      const Index checked = reader.integer(text.c_str(), -1, 0, detail::kMaxTokenId);
      reader.require(text.c_str(), checked >= 0, "an integer");
      add_token(added,
                {.id = static_cast<std::int32_t>(checked), .content = text, .special = true});
    }
  }
  return config.boolean("add_bos_token", true);
}

}  // namespace

Tokenizer tokenizer_from_sentencepiece(const std::filesystem::path& path) {
  const std::string file = path.string();
  const auto fail = [&](const std::string& problem, const char* key, const char* expected,
                        std::string got) {
    throw LoadError(problem, {file, key, expected, std::move(got)});
  };
  sentencepiece::SentencePieceProcessor processor;
  if (const auto status = processor.Load(file); !status.ok()) {
    fail("not a SentencePiece model", "", "", status.ToString());
  }
  Model model;
  try {
    model = parse(processor.serialized_model_proto());
  } catch (const Error& e) {
    fail("not a SentencePiece model", "", "", e.what());
  }
  const std::string problem = "unsupported SentencePiece model";
  if (model.algorithm != Model::kBpe) {
    fail(problem, "trainer_spec.model_type", "2 (BPE)", std::to_string(model.algorithm));
  }
  if (model.has_character_map) {
    fail(problem, "normalizer_spec.precompiled_charsmap", "none (identity)", "a map");
  }
  if (model.squeeze_spaces) {
    fail(problem, "normalizer_spec.remove_extra_whitespaces", "false", "true");
  }
  if (!model.escape_spaces) fail(problem, "normalizer_spec.escape_whitespaces", "true", "false");
  if (model.space_as_suffix) {
    fail(problem, "trainer_spec.treat_whitespace_as_suffix", "false", "true");
  }

  for (const detail::SentencePiece& piece : model.pieces)
    if (piece.kind == detail::PieceKind::unused)
      fail(problem, "pieces", "no piece of type UNUSED", "\"" + piece.text + "\"");
  TokenizerParts parts = detail::parts_of_pieces(file, model.pieces, model.dummy_prefix);
  if (read_tokenizer_config(path.parent_path(), parts.added_tokens) && processor.bos_id() >= 0) {
    parts.prefix_ids.push_back(processor.bos_id());
  }
  return Tokenizer(std::move(parts));
}

}  // namespace pllava
