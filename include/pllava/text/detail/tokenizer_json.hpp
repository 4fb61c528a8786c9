// Reader of tokenizer.json, the file of the `tokenizers` package.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "pllava/io/detail/json_file.hpp"
#include "pllava/io/detail/json_reader.hpp"
#include "pllava/text/detail/token_ids.hpp"
#include "pllava/text/detail/word_split.hpp"
#include "pllava/text/tokenizer_parts.hpp"

namespace pllava::detail {

/// Reads a tokenizer.json into TokenizerParts. Every error names the file and the key.
class TokenizerJson {
 public:
  using Json = nlohmann::json;

  /// Throws LoadError: not a regular file, too large, nested too deeply, not a JSON object.
  explicit TokenizerJson(const std::filesystem::path& path)
      : file_(path.string()), json_(read_json_object(path)), root_(json_.root, file_) {}
  TokenizerJson(const TokenizerJson&) = delete;
  TokenizerJson& operator=(const TokenizerJson&) = delete;

  /// Throws LoadError: a missing or malformed key, or a feature that Tokenizer does not have.
  TokenizerParts parts() const {
    TokenizerParts parts;
    parts.source = file_;
    const JsonReader model = root_.object("model");
    read_model(model, parts);
    read_vocab(model, parts);
    read_merges(model, parts);
    read_added_tokens(parts);
    read_normalizer(parts);
    read_pre_tokenizer(parts);
    read_post_processor(parts);
    read_decoder(parts);
    return parts;
  }

 private:
  static std::string required_text(const JsonReader& object, const char* key) {
    object.require(key, object.find(key) != nullptr, "a string");
    return object.text(key, "");
  }

  static bool required_boolean(const JsonReader& object, const char* key) {
    object.require(key, object.find(key) != nullptr, "true or false");
    return object.boolean(key, false);
  }

  static Index required_index(const JsonReader& object, const char* key) {
    object.require(key, object.find(key) != nullptr, "an integer");
    return object.integer(key, 0, 0, kMaxTokenId);
  }

  static const Json& required_array(const JsonReader& object, const char* key) {
    const Json* value = object.find(key);
    if (value == nullptr || !value->is_array()) throw object.error(key, "an array", value);
    return *value;
  }

  /// A reader for each element of an array of objects. `path` is the array's key from the root.
  std::vector<JsonReader> objects(const Json& array, const std::string& path) const {
    std::vector<JsonReader> readers;
    for (std::size_t i = 0; i < array.size(); ++i) {
      const std::string element = path + "[" + std::to_string(i) + "]";
      if (!array[i].is_object()) throw root_.error(element.c_str(), "an object", &array[i]);
      readers.emplace_back(array[i], file_, element + ".");
    }
    return readers;
  }

  static void read_model(const JsonReader& model, TokenizerParts& parts) {
    // Older files have no type; the required `merges` distinguish BPE from the other models.
    model.require("type", model.text("type", "BPE") == "BPE", "\"BPE\"");
    for (const char* key : {"dropout", "continuing_subword_prefix", "end_of_word_suffix"}) {
      const Json* value = model.find(key);
      const bool off = value == nullptr || (value->is_number() && value->get<double>() == 0.0) ||
                       (value->is_string() && value->get_ref<const std::string&>().empty());
      model.require(key, off, "null");
    }
    parts.ignore_merges = model.boolean("ignore_merges", false);
    parts.byte_fallback = model.boolean("byte_fallback", false);
    parts.fuse_unk = model.boolean("fuse_unk", false);
    parts.unk_token = model.text("unk_token", "");
  }

  static void read_vocab(const JsonReader& model, TokenizerParts& parts) {
    const Json* vocab = model.find("vocab");
    if (vocab == nullptr || !vocab->is_object())
      throw model.error("vocab", "an object of token: id", vocab);
    // Ids are nearly dense; the table of a single large id would take much memory.
    const auto max_id = static_cast<double>(
        std::min<std::size_t>(8 * vocab->size() + 65536, static_cast<std::size_t>(kMaxTokenId)));
    for (const auto& [token, value] : vocab->items()) {
      const auto fail = [&, &name = token](const std::string& expected, const Json& got) {
        throw model.error(("vocab[\"" + name + "\"]").c_str(), expected, &got);
      };
      if (!value.is_number_integer() || value.get<double>() < 0 || value.get<double>() > max_id) {
        fail("an id from 0 to " + std::to_string(static_cast<Index>(max_id)), value);
      }
      if (token.empty()) fail("a token that is not empty", value);
      const auto id = value.get<std::size_t>();
      if (id >= parts.vocab.size()) parts.vocab.resize(id + 1);
      if (!parts.vocab[id].empty())
        fail("an id that \"" + parts.vocab[id] + "\" does not have", value);
      parts.vocab[id] = token;
    }
  }

  static void read_merges(const JsonReader& model, TokenizerParts& parts) {
    const Json& merges = required_array(model, "merges");
    parts.merges.reserve(merges.size());
    for (const Json& merge : merges) {
      const std::string key = "merges[" + std::to_string(parts.merges.size()) + "]";
      TokenMerge m;
      m.rank = static_cast<std::int32_t>(parts.merges.size());
      if (merge.is_string()) {
        const auto& text = merge.get_ref<const std::string&>();
        const std::size_t space = text.find(' ');
        if (space == std::string::npos || text.find(' ', space + 1) != std::string::npos)
          throw model.error(key.c_str(), "two tokens separated by one space", &merge);
        m.left = text.substr(0, space);
        m.right = text.substr(space + 1);
      } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() &&
                 merge[1].is_string()) {
        m.left = merge[0].get<std::string>();
        m.right = merge[1].get<std::string>();
      } else {
        throw model.error(key.c_str(), "\"left right\" or [left, right]", &merge);
      }
      parts.merges.push_back(std::move(m));
    }
  }

  void read_added_tokens(TokenizerParts& parts) const {
    if (root_.find("added_tokens") == nullptr) return;
    const Json& array = required_array(root_, "added_tokens");
    for (const JsonReader& entry : objects(array, "added_tokens")) {
      AddedToken token;
      token.id = static_cast<std::int32_t>(required_index(entry, "id"));
      token.content = required_text(entry, "content");
      token.special = entry.boolean("special", false);
      token.normalized = entry.boolean("normalized", false);
      token.lstrip = entry.boolean("lstrip", false);
      token.rstrip = entry.boolean("rstrip", false);
      entry.require("single_word", !entry.boolean("single_word", false), "false");
      parts.added_tokens.push_back(std::move(token));
    }
  }

  /// {"type": "Replace", "pattern": {"String": ...}, "content": ...}
  static TextRewrite replacement(const JsonReader& step) {
    const JsonReader pattern = step.object("pattern");
    TextRewrite rewrite{required_text(pattern, "String"), required_text(step, "content")};
    pattern.require("String", !rewrite.from.empty(), "a string that is not empty");
    return rewrite;
  }

  /// The steps of a Sequence, which must not nest, or the single step.
  std::vector<JsonReader> steps_of(const char* key, const char* list) const {
    const JsonReader step = root_.object(key);
    if (step.text("type", "") != "Sequence") return {step};
    return objects(required_array(step, list), std::string(key) + "." + list);
  }

  void read_normalizer(TokenizerParts& parts) const {
    if (root_.find("normalizer") == nullptr) return;
    for (const JsonReader& step : steps_of("normalizer", "normalizers")) {
      const std::string type = required_text(step, "type");
      if (type == "Prepend") {
        parts.normalizer.push_back({"", required_text(step, "prepend")});
      } else if (type == "NFC") {
        parts.nfc = true;
      } else {
        step.require("type", type == "Replace", "NFC, Prepend, Replace or one Sequence of them");
        parts.normalizer.push_back(replacement(step));
      }
    }
  }

  void read_pre_tokenizer(TokenizerParts& parts) const {
    if (root_.find("pre_tokenizer") == nullptr) return;
    const JsonReader step = root_.object("pre_tokenizer");
    if (required_text(step, "type") == "Metaspace") {
      read_metaspace(step, parts);
    } else {
      read_byte_level(parts);
    }
  }

  /// Split and Digits, then ByteLevel.
  void read_byte_level(TokenizerParts& parts) const {
    ByteLevel level;
    const std::vector<JsonReader> steps = steps_of("pre_tokenizer", "pretokenizers");
    constexpr std::size_t kMaxSteps = 8;  // each one reads all words again
    if (steps.empty() || steps.size() > kMaxSteps)
      throw root_.error("pre_tokenizer.pretokenizers", "1 to 8 steps",
                        root_.object("pre_tokenizer").find("pretokenizers"));
    for (std::size_t i = 0; i + 1 < steps.size(); ++i) {
      const JsonReader& step = steps[i];
      const std::string type = required_text(step, "type");
      if (type == "Digits") {
        const bool single = required_boolean(step, "individual_digits");
        level.splits.push_back(single ? WordSplit::digit : WordSplit::digits);
      } else {
        step.require("type", type == "Split", "Split or Digits before ByteLevel");
        level.splits.push_back(regex_split(step));
      }
    }
    const JsonReader& last = steps.back();
    last.require("type", required_text(last, "type") == "ByteLevel",
                 "null, Metaspace, ByteLevel, or a Sequence that ends with ByteLevel");
    level.add_prefix_space = required_boolean(last, "add_prefix_space");
    level.use_regex = last.boolean("use_regex", true);
    parts.byte_level = std::move(level);
  }

  /// The matches of the known expressions cover every text. So to isolate the matches, to isolate
  /// what is between them, and to remove what is between them give the same words.
  static WordSplit regex_split(const JsonReader& step) {
    const JsonReader pattern = step.object("pattern");
    const std::optional<WordSplit> split = word_split_of(required_text(pattern, "Regex"));
    pattern.require("Regex", split.has_value(), "the expression of GPT-2, Llama 3 or Qwen2");
    const std::string behavior = required_text(step, "behavior");
    step.require("behavior",
                 behavior == "Isolated" || (behavior == "Removed" && step.boolean("invert", false)),
                 "Isolated, or Removed with invert");
    return *split;
  }

  static void read_metaspace(const JsonReader& step, TokenizerParts& parts) {
    Metaspace meta;
    meta.replacement = required_text(step, "replacement");
    step.require("replacement", !meta.replacement.empty(), "one character");
    const std::string scheme = step.text("prepend_scheme", "always");
    if (scheme == "first") {
      meta.prepend_scheme = Metaspace::PrependScheme::first;
    } else if (scheme == "never") {
      meta.prepend_scheme = Metaspace::PrependScheme::never;
    } else {
      step.require("prepend_scheme", scheme == "always", "first, always or never");
    }
    if (!step.boolean("add_prefix_space", true))
      meta.prepend_scheme = Metaspace::PrependScheme::never;
    meta.split = step.boolean("split", true);
    parts.metaspace = std::move(meta);
  }

  /// ByteLevel, which only changes offsets, and one TemplateProcessing.
  void read_post_processor(TokenizerParts& parts) const {
    if (root_.find("post_processor") == nullptr) return;
    bool template_seen = false;
    for (const JsonReader& step : steps_of("post_processor", "processors")) {
      const std::string type = required_text(step, "type");
      if (type == "ByteLevel") continue;
      step.require("type", type == "TemplateProcessing" && !template_seen,
                   "null, ByteLevel or one TemplateProcessing");
      template_seen = true;
      read_template(step, parts);
    }
  }

  void read_template(const JsonReader& step, TokenizerParts& parts) const {
    const Json& pieces = required_array(step, "single");
    bool text_seen = false;
    for (const JsonReader& piece : objects(pieces, "post_processor.single")) {
      const bool is_text = piece.find("Sequence") != nullptr;
      const bool is_special = piece.find("SpecialToken") != nullptr;
      step.require("single", !text_seen && (is_text || is_special),
                   "only special tokens before one text");
      if (is_text) {
        text_seen = true;
        continue;
      }
      const std::string name = required_text(piece.object("SpecialToken"), "id");
      const JsonReader token = step.object("special_tokens").object(name.c_str());
      token.require("ids", token.find("ids") != nullptr, "an array of ids");
      for (const Index id : token.integers("ids", 0, 0, kMaxTokenId))
        parts.prefix_ids.push_back(static_cast<std::int32_t>(id));
    }
    step.require("single", text_seen, "a place for the text");
  }

  /// Either ByteLevel, or Replace..., ByteFallback, Fuse, Strip, in this order; Strip requires
  /// Fuse.
  void read_decoder(TokenizerParts& parts) const {
    enum Stage { replace, byte_fallback, fuse, strip } stage = replace;
    const std::vector<JsonReader> steps = steps_of("decoder", "decoders");
    for (const JsonReader& step : steps) {
      const std::string type = required_text(step, "type");
      if (type == "ByteLevel") {
        step.require("type", steps.size() == 1, "ByteLevel alone, or none");
        parts.decode_byte_level = true;
        continue;
      }
      const auto enter = [&](Stage next, bool allowed) {
        step.require("type", allowed && next >= stage,
                     "Replace, ByteFallback, Fuse, Strip in this order");
        stage = next;
      };
      if (type == "Replace") {
        enter(replace, true);
        parts.decoder.push_back(replacement(step));
      } else if (type == "ByteFallback") {
        enter(byte_fallback, true);
        parts.decode_bytes = true;
      } else if (type == "Fuse") {
        enter(fuse, true);
      } else {
        enter(strip, type == "Strip" && stage == fuse);
        parts.strip_content = required_text(step, "content");
        parts.strip_count = required_index(step, "start");
        step.require("stop", required_index(step, "stop") == 0, "0");
      }
    }
  }

  std::string file_;
  JsonDocument json_;
  JsonReader root_;  // of json_
};

}  // namespace pllava::detail
