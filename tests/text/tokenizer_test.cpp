// Tokenizer and StreamDecoder: goldens of the `tokenizers` package (tests/data/tokenizer), and
// malformed files.
#include "pllava/text/tokenizer.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "support/catch.hpp"
#include "support/temp_directory.hpp"
#include "support/tokenizer_goldens.hpp"

namespace {

using nlohmann::json;
using pllava::LoadError;
using pllava::PromptError;
using pllava::StreamDecoder;
using pllava::Tokenizer;
using namespace test;

const std::filesystem::path kData = std::filesystem::path(PLLAVA_TEST_DATA) / "tokenizer";

Tokenizer load(const std::string& name) {
  return Tokenizer::from_file(kData / (name + ".json"));
}

std::string stream(const Tokenizer& tokenizer, const Ids& ids, pllava::DecodeOptions options) {
  StreamDecoder decoder(tokenizer, options);
  std::string text;
  for (const std::int32_t id : ids) {
    const std::string piece = decoder.push(id);
    CHECK_NOTHROW(json(piece).dump());  // throws if it is not valid UTF-8
    text += piece;
  }
  return text + decoder.flush();
}

/// The message of the LoadError for this file content; "accepted" if there is none.
std::string refusal(const std::string& text) {
  const test::TempDirectory directory;
  const auto path = directory.write("tokenizer.json", text);
  try {
    Tokenizer::from_file(path);
  } catch (const LoadError& e) {
    CHECK(e.file() == path.string());
    return e.what();
  }
  return "accepted";
}

/// The same for the valid file with one value changed.
std::string refusal(const std::string& pointer, const json& value) {
  json file = json::parse(read_file(kData / "tokenizer.json"));
  file[json::json_pointer(pointer)] = value;
  return refusal(file.dump());
}

/// Letters a, b, c and three merges; "?" is the unknown token.
pllava::TokenizerParts small_parts() {
  pllava::TokenizerParts parts;
  parts.source = "small";
  parts.vocab = {"?", "a", "b", "c", "ab", "bc", "abc"};
  parts.merges = {{"b", "c", 0}, {"a", "b", 1}, {"a", "bc", 2}};
  parts.unk_token = "?";
  return parts;
}

using Catch::Matchers::Contains;

}  // namespace

TEST_CASE("ids and texts equal the reference for explicit strings", "[tokenizer]") {
  const json goldens = json::parse(read_file(kData / "goldens.json"));
  for (const auto& [name, rows] : goldens["explicit"].items()) {
    const Tokenizer tokenizer = load(name);
    REQUIRE(rows.size() >= 40);
    for (const json& row : rows) {
      INFO(name << ": " << row["text"]);
      const Ids ids = tokenizer.encode(row["text"].get<std::string>());
      CHECK(ids == row["ids"].get<Ids>());
      CHECK(tokenizer.decode(ids) == row["decoded"].get<std::string>());
      CHECK(tokenizer.decode(ids, {.skip_special_tokens = false}) ==
            row["with_special"].get<std::string>());
    }
  }
}

TEST_CASE("ids and texts equal the reference for random strings", "[tokenizer]") {
  const json goldens = json::parse(read_file(kData / "goldens.json"));
  const auto fragments = goldens["fragments"].get<std::vector<std::string>>();
  const std::string name = GENERATE("tokenizer", "yi", "metaspace");
  const Tokenizer tokenizer = load(name);
  const std::string hashes = read_file(kData / (name + ".hashes"));
  const std::size_t count = hashes.size() / 8;
  REQUIRE(count >= 1000);
  int wrong = 0;
  for (std::size_t i = 0; i < count; ++i) {
    SplitMix64 rng(i);
    const std::string text = random_text(rng, fragments);
    const Ids ids = tokenizer.encode(text);
    const Ids noise = random_ids(rng, tokenizer.size());
    const std::string decoded = tokenizer.decode(ids);
    const std::string noise_text = tokenizer.decode(noise, {.skip_special_tokens = false});
    const bool same = hash_of(ids) == word_at(hashes, 2 * i) &&
                      hash_of(decoded + "\n" + noise_text) == word_at(hashes, 2 * i + 1) &&
                      stream(tokenizer, ids, {}) == decoded &&
                      stream(tokenizer, noise, {.skip_special_tokens = false}) == noise_text;
    if (!same && ++wrong <= 5) UNSCOPED_INFO(name << " string " << i << ": " << json(text));
  }
  CHECK(wrong == 0);
}

TEST_CASE("the prefix ids follow the file", "[tokenizer]") {
  const Tokenizer llama = load("tokenizer");
  CHECK(llama.bos_id() == 1);
  CHECK(llama.encode("").size() == 1);
  CHECK(llama.encode("", {.bos = false}).empty());
  CHECK_FALSE(load("yi").bos_id());
  CHECK(load("yi").encode("").empty());
}

TEST_CASE("a text split after an added token gives the same ids in two calls", "[tokenizer]") {
  const std::string name = GENERATE("tokenizer", "metaspace");
  const Tokenizer tokenizer = load(name);
  const std::string before = "USER: <image>";
  const std::string after = GENERATE("\n USER: What is this? ASSISTANT:", " two", "x");
  Ids parts = tokenizer.encode(before);
  const Ids rest = tokenizer.encode(after, {.bos = false, .continues = true});
  parts.insert(parts.end(), rest.begin(), rest.end());
  CHECK(parts == tokenizer.encode(before + after));
}

TEST_CASE("a text within a segment gets no space in front", "[tokenizer]") {
  for (const char* name : {"tokenizer", "metaspace"}) {
    INFO(name);
    const Tokenizer tokenizer = load(name);
    const auto encode = [&](const std::string& text, bool within) {
      return tokenizer.encode(text, {.bos = false, .continues = true, .within_segment = within});
    };
    Ids joined = encode("It stops.", false);
    const Ids rest = encode(" USER: And", true);
    joined.insert(joined.end(), rest.begin(), rest.end());
    CHECK(joined == encode("It stops. USER: And", false));
  }
}

TEST_CASE("id_of and token are inverse", "[tokenizer]") {
  const Tokenizer tokenizer = load("tokenizer");
  const auto image = tokenizer.id_of("<image>");
  REQUIRE(image);
  CHECK(tokenizer.token(*image) == "<image>");
  CHECK(tokenizer.is_special(*image));
  CHECK(tokenizer.size() == *tokenizer.id_of("<|im_start|>") + 1);
  CHECK_FALSE(tokenizer.is_special(*tokenizer.id_of("<|im_start|>")));
  CHECK_FALSE(tokenizer.is_special(-1));
  CHECK_FALSE(tokenizer.is_special(1 << 30));
  CHECK(tokenizer.id_of("<0x0A>") == 13);
  CHECK(tokenizer.token(13) == "<0x0A>");
  CHECK_FALSE(tokenizer.id_of("no such token"));
  CHECK_THROWS_AS(tokenizer.token(-1), pllava::ArgumentError);
  CHECK_THROWS_WITH(tokenizer.token(100000), Contains("100000"));
}

TEST_CASE("invalid UTF-8 is rejected with its byte offset", "[tokenizer]") {
  const Tokenizer tokenizer = load("tokenizer");
  using namespace std::string_literals;
  const auto [text, place] = GENERATE(table<std::string, std::string>({
      {"abc\xff", "byte 3 is 0xFF"},             // never part of UTF-8
      {"\x80", "byte 0 is 0x80"},                // continuation without a lead
      {"a\xc3", "byte 1 is 0xC3"},               // cut off
      {"\xc0\xaf", "byte 0 is 0xC0"},            // overlong
      {"xy\xe0\x80\x80", "byte 2 is 0xE0"},      // overlong
      {"\xed\xa0\x80", "byte 0 is 0xED"},        // surrogate
      {"\xf4\x90\x80\x80", "byte 0 is 0xF4"},    // beyond U+10FFFF
      {"\xf0\x9f\x99<image>", "byte 0 is 0xF0"}  // cut off by more text
  }));
  CHECK_THROWS_AS(tokenizer.encode(text), PromptError);
  CHECK_THROWS_WITH(tokenizer.encode(text), Contains(place));
}

TEST_CASE("a stream returns whole characters and keeps or strips the first space", "[tokenizer]") {
  const Tokenizer tokenizer = load("tokenizer");
  const Ids ids = tokenizer.encode("the \u00bf\U0001F643 x");
  CHECK(stream(tokenizer, ids, {}) == "the \u00bf\U0001F643 x");
  CHECK(stream(tokenizer, ids, {.continues = true}) == " the \u00bf\U0001F643 x");
  CHECK(tokenizer.decode(ids, {.continues = true}) == " the \u00bf\U0001F643 x");

  StreamDecoder decoder(tokenizer);
  CHECK(decoder.push(3 + 0xf0).empty());
  CHECK(decoder.push(3 + 0x9f).empty());
  CHECK(decoder.flush() == "\uFFFD\uFFFD");  // an invalid run: one per byte
  for (const int byte : {0xf0, 0x9f, 0x99, 0x82}) CHECK(decoder.push(3 + byte).empty());
  CHECK(decoder.push(2).empty());  // a skipped </s> does not end the run, as in the reference
  CHECK(decoder.push(*tokenizer.id_of("a")) ==
        "\U0001F642"
        "a");
  CHECK(decoder.push(-5).empty());
  CHECK(decoder.push(1 << 20).empty());
  CHECK(decoder.flush().empty());
}

TEST_CASE("merges apply by rank, then from left to right", "[tokenizer]") {
  const Tokenizer tokenizer{small_parts()};
  CHECK(tokenizer.encode("abc") == Ids{6});
  CHECK(tokenizer.encode("ab") == Ids{4});
  CHECK(tokenizer.encode("abab") == Ids{4, 4});
  CHECK(tokenizer.encode("abcbcc") == Ids{6, 5, 3});

  pllava::TokenizerParts overlapping;
  overlapping.vocab = {"?", "a", "aa"};
  overlapping.merges = {{"a", "a", 0}};
  overlapping.unk_token = "?";
  CHECK(Tokenizer(overlapping).encode("aaaaa") == Ids{2, 2, 1});
}

TEST_CASE("unknown characters fuse only with fuse_unk", "[tokenizer]") {
  pllava::TokenizerParts parts = small_parts();
  CHECK(Tokenizer(parts).encode("a\u00e9zb") == Ids{1, 0, 0, 2});
  parts.fuse_unk = true;
  CHECK(Tokenizer(parts).encode("a\u00e9zb") == Ids{1, 0, 2});
}

TEST_CASE("added tokens in plain text are text", "[tokenizer]") {
  const std::string name = GENERATE("tokenizer", "yi", "metaspace");
  const Tokenizer tokenizer = load(name);
  const json goldens = json::parse(read_file(kData / "goldens.json"));
  for (const json& row : goldens["explicit"][name]) {
    const auto text = row["text"].get<std::string>();
    INFO(name << ": " << row["text"]);
    const Ids ids = tokenizer.encode(text, {.bos = false, .parse_special = false});
    for (const std::int32_t id : ids) CHECK_FALSE(tokenizer.is_special(id));
    if (text.find("\u2581") == std::string::npos && name != "metaspace")
      CHECK(tokenizer.decode(ids, {.continues = true}) == (text.empty() ? "" : " ") + text);
    const pllava::TextRange all{0, text.size()};
    CHECK(tokenizer.encode(text, {.bos = false, .plain = {&all, 1}}) == ids);
  }
}

TEST_CASE("only added tokens that overlap a plain range are text", "[tokenizer]") {
  const Tokenizer tokenizer = load("yi");  // <|tool|> is matched in the normalized text
  const std::int32_t image = *tokenizer.id_of("<image>"), tool = *tokenizer.id_of("<|tool|>");
  const auto count = [&](std::string_view text, const std::vector<pllava::TextRange>& plain) {
    const Ids ids = tokenizer.encode(text, {.plain = plain});
    return std::pair(std::count(ids.begin(), ids.end(), image),
                     std::count(ids.begin(), ids.end(), tool));
  };
  using Counts = std::pair<std::ptrdiff_t, std::ptrdiff_t>;
  const std::string text = "<image> <|tool|> <image> <|tool|>";
  CHECK(count(text, {}) == Counts{2, 2});
  CHECK(count(text, {{0, 7}}) == Counts{1, 2});
  CHECK(count(text, {{16, 17}}) == Counts{2, 2});  // a space after a token
  CHECK(count(text, {{8, 16}}) == Counts{2, 1});
  CHECK(count(text, {{6, 7}, {32, 33}}) == Counts{1, 1});  // the last byte of a token
  CHECK(count(text, {{0, 1}, {25, 26}}) == Counts{1, 1});  // the first
  CHECK(count(text, {{3, 20}}) == Counts{0, 1});
  CHECK(count(text, {{0, text.size()}}) == Counts{0, 0});

  const std::string words = "USER: the man opens the door ASSISTANT:";
  for (std::size_t i = 0; i < words.size(); ++i) {
    const pllava::TextRange range{i, std::min(i + 7, words.size())};
    CHECK(tokenizer.encode(words, {.plain = {&range, 1}}) == tokenizer.encode(words));
  }
  CHECK_THROWS_AS(count(text, {{0, text.size() + 1}}), pllava::ArgumentError);
  CHECK_THROWS_AS(count(text, {{5, 4}}), pllava::ArgumentError);
  CHECK_THROWS_WITH(count(text, {{5, 9}, {8, 10}}), Contains("8 to 10"));
}

TEST_CASE("merges of plain text do not give a special token", "[tokenizer]") {
  pllava::TokenizerParts parts = small_parts();
  parts.added_tokens = {{6, "abc", true}, {7, "<x>", true}};
  const Tokenizer tokenizer{parts};
  CHECK(tokenizer.encode("abc") == Ids{6});
  CHECK(tokenizer.encode("abc", {.parse_special = false}) == Ids{1, 5});
  CHECK(tokenizer.encode("<x>", {.parse_special = false}) == Ids{0, 0, 0});
}

TEST_CASE("added tokens match leftmost, then longest", "[tokenizer]") {
  pllava::TokenizerParts parts = small_parts();
  parts.added_tokens = {{7, "<x>", true}, {8, "<x><y>", true}, {9, "a<", false}};
  const Tokenizer tokenizer{parts};
  CHECK(tokenizer.encode("<x><y>") == Ids{8});
  CHECK(tokenizer.encode("<x><y") == Ids{7, 0, 0});
  CHECK(tokenizer.encode("a<x>") == Ids{9, 0, 0});
  CHECK(tokenizer.decode(Ids{7, 9, 1}) == "a<a");
}

TEST_CASE("metaspace splits into words on request and prepends once", "[tokenizer]") {
  pllava::TokenizerParts parts;
  parts.vocab = {"?", "_", "a", "a_", "_a", "__"};
  parts.merges = {{"a", "_", 0}, {"_", "_", 1}, {"_", "a", 2}};
  parts.unk_token = "?";
  parts.metaspace = pllava::Metaspace{"_", pllava::Metaspace::PrependScheme::always, true};
  CHECK(Tokenizer(parts).encode("a a") == Ids{4, 4});
  CHECK(Tokenizer(parts).encode(" a") == Ids{4});
  parts.metaspace->split = false;
  CHECK(Tokenizer(parts).encode("a a") == Ids{1, 3, 2});
  parts.metaspace->prepend_scheme = pllava::Metaspace::PrependScheme::never;
  CHECK(Tokenizer(parts).encode("a a") == Ids{3, 2});
}

TEST_CASE("a text of 1 MiB round-trips", "[tokenizer]") {
  const Tokenizer tokenizer = load("tokenizer");
  std::string text;
  while (text.size() < (1u << 20)) text += "What is the man doing? \U0001F642\n     aaaaaaaaaa<ima";
  const Ids ids = tokenizer.encode(text);
  CHECK(ids.size() > 1000);
  CHECK(tokenizer.decode(ids) == text);
  const std::string one_word(1u << 20, 'a');  // a quadratic merge would not finish
  CHECK(tokenizer.decode(tokenizer.encode(one_word)) == one_word);
}

TEST_CASE("threads can share a tokenizer", "[tokenizer]") {
  const Tokenizer tokenizer = load("tokenizer");
  const std::string text = "USER: <image>\n USER: What happened? \U0001F642 ASSISTANT:";
  const Ids expected = tokenizer.encode(text);
  std::array<int, 4> same{};
  {
    std::vector<std::thread> threads;
    for (int& n : same) {
      threads.emplace_back([&n, &text, &expected, copy = tokenizer] {
        for (int i = 0; i < 50; ++i) n += copy.encode(text) == expected;
      });
    }
    for (std::thread& t : threads) t.join();
  }
  for (const int n : same) CHECK(n == 50);
}

TEST_CASE("from_directory reads tokenizer.json", "[tokenizer]") {
  const test::TempDirectory directory;
  directory.write("tokenizer.json", read_file(kData / "tokenizer.json"));
  CHECK(Tokenizer::from_directory(directory.path()).encode("a") == load("tokenizer").encode("a"));
  CHECK_THROWS_AS(Tokenizer::from_directory(directory.path() / "absent"), LoadError);
  CHECK_THROWS_WITH(Tokenizer::from_directory(directory.path() / "absent"),
                    Contains("absent") && Contains("tokenizer.json"));
}

TEST_CASE("merges may be strings or pairs", "[tokenizer]") {
  json file = json::parse(read_file(kData / "tokenizer.json"));
  for (json& merge : file["model"]["merges"]) {
    const auto text = merge.get<std::string>();
    merge = {text.substr(0, text.find(' ')), text.substr(text.find(' ') + 1)};
  }
  const test::TempDirectory directory;
  const auto pairs = directory.write("tokenizer.json", file.dump());
  const std::string text = "The man in the red coat opens the door.";
  CHECK(Tokenizer::from_file(pairs).encode(text) == load("tokenizer").encode(text));
}

TEST_CASE("malformed and unsupported files are rejected with the key", "[tokenizer]") {
  const std::string good = read_file(kData / "tokenizer.json");
  CHECK(refusal(good) == "accepted");
  CHECK_THAT(refusal(""), Contains("not valid JSON"));
  CHECK_THAT(refusal("{\"model\": 1, \"model\": 2}"), Contains("(model)") && Contains("twice"));
  CHECK_THAT(refusal(good.substr(0, good.size() / 2)), Contains("not valid JSON"));
  CHECK_THAT(refusal("[]"), Contains("an object"));
  CHECK_THAT(refusal("{}"), Contains("(model)"));
  CHECK_THAT(refusal("/model", 3), Contains("(model)"));
  CHECK_THAT(refusal("/model/type", "Unigram"),
             Contains("(model.type)") && Contains("Unigram") && Contains("BPE"));
  CHECK_THAT(refusal("/model/dropout", 0.1), Contains("(model.dropout)"));
  CHECK_THAT(refusal("/model/end_of_word_suffix", "</w>"), Contains("end_of_word_suffix"));
  CHECK_THAT(refusal("/model/ignore_merges", 1), Contains("ignore_merges"));
  CHECK_THAT(refusal("/model/byte_fallback", "yes"), Contains("true or false"));
  CHECK_THAT(refusal("/model/vocab", json::array()), Contains("(model.vocab)"));
  CHECK_THAT(refusal("/model/vocab/new", 5),
             Contains("model.vocab[\"new\"]") && Contains("<0x02>"));
  CHECK_THAT(refusal("/model/vocab/new", -1), Contains("an id from 0"));
  CHECK_THAT(refusal("/model/vocab/new", 1.5), Contains("an id from 0"));
  CHECK_THAT(refusal("/model/vocab/new", 4000000000u), Contains("an id from 0"));
  CHECK_THAT(refusal("/model/vocab/new", 16'000'000), Contains("an id from 0"));
  CHECK_THAT(refusal("/model/vocab/", 4000), Contains("not empty"));
  CHECK_THAT(refusal("/model/merges", 1), Contains("(model.merges)"));
  CHECK_THAT(refusal("/model/merges/7", "a b c"), Contains("model.merges[7]"));
  CHECK_THAT(refusal("/model/merges/7", json{"a"}), Contains("model.merges[7]"));
  CHECK_THAT(refusal("/model/merges/7", "a \u2603"),
             Contains("merges[7]") && Contains("unknown token"));
  CHECK_THAT(refusal("/model/merges/7", "Z Z"), Contains("merges[7]"));
  CHECK_THAT(refusal("/added_tokens", 1), Contains("(added_tokens)"));
  CHECK_THAT(refusal("/added_tokens/0", 1), Contains("added_tokens[0]"));
  CHECK_THAT(refusal("/added_tokens/1/single_word", true), Contains("added_tokens[1].single_word"));
  CHECK_THAT(refusal("/added_tokens/1/id", 7), Contains("has two ids"));
  CHECK_THAT(refusal("/added_tokens/3/id", 7), Contains("another token's id"));
  CHECK_THAT(refusal("/added_tokens/3/content", ""), Contains("empty"));
  CHECK_THAT(refusal("/normalizer", {{"type", "NFKC"}}),
             Contains("(normalizer.type)") && Contains("NFKC"));
  CHECK_THAT(refusal("/normalizer/normalizers/1", {{"type", "Lowercase"}}),
             Contains("normalizer.normalizers[1].type"));
  CHECK_THAT(refusal("/normalizer/normalizers/1/pattern", {{"Regex", " +"}}),
             Contains("normalizers[1].pattern.String"));
  CHECK_THAT(refusal("/normalizer/normalizers/1/pattern/String", ""), Contains("not empty"));
  CHECK_THAT(refusal("/pre_tokenizer", {{"type", "Whitespace"}}), Contains("pre_tokenizer.type"));
  CHECK_THAT(refusal("/pre_tokenizer", {{"type", "Metaspace"}, {"replacement", ""}}),
             Contains("pre_tokenizer.replacement"));
  CHECK_THAT(
      refusal("/pre_tokenizer",
              {{"type", "Metaspace"}, {"replacement", "_"}, {"prepend_scheme", "sometimes"}}),
      Contains("prepend_scheme"));
  CHECK_THAT(refusal("/post_processor/type", "BertProcessing"), Contains("post_processor.type"));
  CHECK_THAT(refusal("/post_processor/single", json::array()), Contains("a place for the text"));
  const json bos = {{"SpecialToken", {{"id", "<s>"}}}};
  const json text = {{"Sequence", {{"id", "A"}}}};
  CHECK_THAT(refusal("/post_processor/single", {text, bos}), Contains("special tokens before"));
  CHECK_THAT(refusal("/post_processor/special_tokens/<s>/ids/0", 9999),
             Contains("9999") && Contains("prefix_ids"));
  CHECK_THAT(refusal("/decoder", nullptr), Contains("(decoder"));
  CHECK_THAT(refusal("/decoder", {{"type", "WordPiece"}}), Contains("WordPiece"));
  CHECK_THAT(refusal("/decoder/decoders/2", {{"type", "Metaspace"}}), Contains("decoders[2].type"));
  CHECK_THAT(refusal("/decoder/decoders/2", {{"type", "ByteFallback"}}), Contains("in this order"));
  CHECK_THAT(refusal("/decoder/decoders/3/stop", 1), Contains("decoders[3].stop"));
  CHECK_THAT(refusal("/decoder/decoders/3/content", "ab"), Contains("one character"));
}

TEST_CASE("a normalizer cannot grow a text without bounds", "[tokenizer]") {
  json file = json::parse(read_file(kData / "tokenizer.json"));
  const json doubling = {{"type", "Replace"}, {"pattern", {{"String", "e"}}}, {"content", "ee"}};
  json steps = json::array();
  for (int i = 0; i < 40; ++i) steps.push_back(doubling);
  file["normalizer"] = {{"type", "Sequence"}, {"normalizers", steps}};
  const test::TempDirectory directory;
  const Tokenizer hostile = Tokenizer::from_file(directory.write("tokenizer.json", file.dump()));
  CHECK_THROWS_AS(hostile.encode("eeee"), PromptError);
}

TEST_CASE("a file with deep nesting is rejected", "[tokenizer]") {
  const std::size_t depth = 100000;
  const std::string deep = std::string(depth, '[') + std::string(depth, ']');
  CHECK_THAT(refusal("{\"model\":" + deep + "}"), Contains("nested too deeply"));
  const json good = json::parse(read_file(kData / "tokenizer.json"));
  for (const char* key : {"normalizer", "pre_tokenizer", "post_processor", "decoder"}) {
    json file = good;
    file[key] = "@";
    std::string text = file.dump();
    text.replace(text.find("\"@\"", text.find(key)), 3, deep);
    CHECK_THAT(refusal(text), Contains("nested too deeply"));
  }
  json nested = good;
  nested["normalizer"]["normalizers"][0] = good["normalizer"];
  CHECK_THAT(refusal(nested.dump()), Contains("normalizer.normalizers[0].type"));
}

TEST_CASE("byte_fallback requires all byte tokens, its absence an unknown token", "[tokenizer]") {
  json file = json::parse(read_file(kData / "tokenizer.json"));
  file["model"]["vocab"].erase("<0x41>");
  CHECK_THAT(refusal(file.dump()), Contains("<0x41>"));
  file["model"]["byte_fallback"] = false;
  CHECK(refusal(file.dump()) == "accepted");
  file["model"]["unk_token"] = nullptr;
  CHECK_THAT(refusal(file.dump()), Contains("unk_token"));
}

// Hidden: requires a LLaMA vocabulary, which is not part of this repository. Create the directory
// with tests/data/check_llama_vocab.py, then run with PLLAVA_LLAMA_VOCAB=<directory>.
TEST_CASE("ids equal LLaMA's tokenizer", "[.llama-vocab]") {
  const char* directory = std::getenv("PLLAVA_LLAMA_VOCAB");
  if (!directory) FAIL("set PLLAVA_LLAMA_VOCAB to the output directory of check_llama_vocab.py");
  const Tokenizer tokenizer = Tokenizer::from_directory(directory);
  const json cases = json::parse(read_file(std::filesystem::path(directory) / "cases.json"));
  REQUIRE_FALSE(cases.empty());
  for (const json& row : cases) {
    INFO(row["text"]);
    const auto text = row["text"].get<std::string>();
    CHECK(tokenizer.encode(text, {.bos = row["bos"].get<bool>()}) == row["ids"].get<Ids>());
  }
  WARN(cases.size() << " texts compared");
}
