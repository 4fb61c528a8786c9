// Byte-level tokenizers: goldens of the `tokenizers` package (tests/data/tokenizer/byte_level), and
// refused files.
#include <filesystem>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "pllava/text/tokenizer.hpp"
#include "support/catch.hpp"
#include "support/temp_directory.hpp"
#include "support/tokenizer_goldens.hpp"

namespace {

using nlohmann::json;
using pllava::StreamDecoder;
using pllava::Tokenizer;
using namespace test;

const std::filesystem::path kData =
    std::filesystem::path(PLLAVA_TEST_DATA) / "tokenizer" / "byte_level";

std::filesystem::path file_of(const std::string& name) {
  return kData / (name + ".json");
}

/// The pieces of a stream, each checked to be valid UTF-8.
std::string stream(const Tokenizer& tokenizer, const Ids& ids, pllava::DecodeOptions options) {
  StreamDecoder decoder(tokenizer, options);
  std::string text;
  for (const std::int32_t id : ids) {
    const std::string piece = decoder.push(id);
    CHECK_NOTHROW(json(piece).dump());
    text += piece;
  }
  return text + decoder.flush();
}

/// The message of the LoadError for the file with one value changed; "accepted" if there is none.
std::string refusal(const std::string& name, const std::string& pointer, const json& value) {
  json file = json::parse(read_file(file_of(name)));
  file[json::json_pointer(pointer)] = value;
  const test::TempDirectory directory;
  try {
    Tokenizer::from_file(directory.write("tokenizer.json", file.dump()));
  } catch (const pllava::LoadError& e) {
    return e.what();
  }
  return "accepted";
}

/// One token for each byte, the id is the byte.
pllava::TokenizerParts byte_parts() {
  pllava::TokenizerParts parts;
  parts.source = "bytes";
  for (unsigned byte = 0; byte < 256; ++byte) {
    const bool itself = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte != 0xad);
    const unsigned moved = byte <= 0x20 ? 0x100 + byte : byte == 0xad ? 0x143 : 0x121 + byte - 0x7f;
    std::string character;
    append_utf8(character, itself ? byte : moved);
    parts.vocab.push_back(character);
  }
  parts.byte_level = pllava::ByteLevel{};
  parts.decode_byte_level = true;
  return parts;
}

using Catch::Matchers::Contains;

}  // namespace

TEST_CASE("byte-level ids and texts equal the package for explicit strings", "[tokenizer]") {
  const json goldens = json::parse(read_file(kData / "goldens.json"));
  REQUIRE(goldens["explicit"].size() == 4);
  for (const auto& [name, rows] : goldens["explicit"].items()) {
    const Tokenizer tokenizer = Tokenizer::from_file(file_of(name));
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

TEST_CASE("byte-level ids and texts equal the package for random strings", "[tokenizer]") {
  const json goldens = json::parse(read_file(kData / "goldens.json"));
  const auto fragments = goldens["fragments"].get<std::vector<std::string>>();
  const std::string name = GENERATE("llama3", "qwen2", "smollm2", "gpt2");
  const Tokenizer tokenizer = Tokenizer::from_file(file_of(name));
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

TEST_CASE("added tokens in plain byte-level text are text", "[tokenizer]") {
  const std::string name = GENERATE("llama3", "qwen2", "smollm2");
  const Tokenizer tokenizer = Tokenizer::from_file(file_of(name));
  const std::string text = "a<|im_end|>b<|endoftext|>c<|eot_id|>d<image>";
  const Ids ids = tokenizer.encode(text, {.bos = false, .parse_special = false});
  for (const std::int32_t id : ids) CHECK_FALSE(tokenizer.is_special(id));
  CHECK(tokenizer.decode(ids) == text);
}

TEST_CASE("a range stays plain through NFC", "[tokenizer]") {
  const Tokenizer tokenizer = Tokenizer::from_file(file_of("qwen2"));
  const std::int32_t cafe = *tokenizer.id_of("<caf\u00e9>");  // matched in the normalized text
  const std::string text = "\u212b <cafe\u0301>\u212b <cafe\u0301>";  // 3 + 1 + 8 bytes, twice
  REQUIRE(text.size() == 24);
  const auto places = [&](pllava::TextRange plain) {
    Ids ids = tokenizer.encode(text, {.plain = {&plain, 1}});
    std::string found;
    for (const std::int32_t id : ids) found += id == cafe ? 'T' : '.';
    return std::pair(found.starts_with("...T"), found.ends_with("T"));
  };
  CHECK(places({0, 4}) == std::pair(true, true));
  CHECK(places({9, 11}) == std::pair(false, true));  // the accent of the first
  CHECK(places({12, 16}) == std::pair(true, true));
  CHECK(places({23, 24}) == std::pair(true, false));
  CHECK(places({0, 24}) == std::pair(false, false));
}

TEST_CASE("a byte-level stream returns each character when it is whole", "[tokenizer]") {
  const Tokenizer tokenizer{byte_parts()};
  const std::string face = "\U0001F642";
  Ids ids;
  for (const char c : face) ids.push_back(static_cast<unsigned char>(c));
  CHECK(tokenizer.encode(face) == ids);
  StreamDecoder decoder(tokenizer);
  for (int i = 0; i < 3; ++i) CHECK(decoder.push(ids[static_cast<std::size_t>(i)]).empty());
  CHECK(decoder.push(ids[3]) == face);
  CHECK(decoder.push('a') == "a");
  CHECK(decoder.push(0xe2).empty());
  CHECK(decoder.push(0x82).empty());
  CHECK(decoder.push('b') == "\uFFFDb");  // two bytes that start a character give one
  CHECK(decoder.push(0x80) == "\uFFFD");
  CHECK(decoder.push(0xed).empty());
  CHECK(decoder.push(0xa0) == "\uFFFD\uFFFD");  // a surrogate: no character starts so
  CHECK(decoder.push(0xf0).empty());
  CHECK(decoder.flush() == "\uFFFD");
  CHECK(decoder.flush().empty());
}

TEST_CASE("bytes without a token are omitted or give the unknown token", "[tokenizer]") {
  pllava::TokenizerParts parts = byte_parts();
  parts.vocab['b'].clear();
  CHECK(Tokenizer(parts).encode("abc") == Ids{'a', 'c'});
  parts.unk_token = "?";
  CHECK(Tokenizer(parts).encode("abc") == Ids{'a', '?', 'c'});
  parts.unk_token = "absent";
  CHECK_THROWS_WITH(Tokenizer(parts), Contains("unk_token"));
}

TEST_CASE("with ignore_merges a word of the vocabulary is one token", "[tokenizer]") {
  pllava::TokenizerParts parts = byte_parts();
  parts.vocab.push_back("abc");
  CHECK(Tokenizer(parts).encode("abc abcd") == Ids{'a', 'b', 'c', ' ', 'a', 'b', 'c', 'd'});
  parts.ignore_merges = true;
  CHECK(Tokenizer(parts).encode("abc") == Ids{256});
  CHECK(Tokenizer(parts).encode("abcd") == Ids{'a', 'b', 'c', 'd'});
  parts.vocab.pop_back();
  parts.added_tokens = {{256, "x\u0120y"}};  // "x y" is not its text
  CHECK(Tokenizer(parts).encode("x y") == Ids{'x', ' ', 'y'});
}

TEST_CASE("a byte-level text of 1 MiB round-trips", "[tokenizer]") {
  const std::string name = GENERATE("llama3", "qwen2", "smollm2", "gpt2");
  const Tokenizer tokenizer = Tokenizer::from_file(file_of(name));
  const auto round_trip = [&](const std::string& text) {
    return tokenizer.decode(tokenizer.encode(text)) == (name == "gpt2" ? " " : "") + text;
  };
  // Runs that a quadratic matcher would not finish.
  for (const char c : {'a', '.', '\n'}) CHECK(round_trip(std::string(1u << 20, c)));
  if (name != "gpt2") {  // it adds a space before each run of digits
    CHECK(round_trip(std::string(1u << 20, ' ')));
    CHECK(round_trip(std::string(1u << 20, '7')));
  }
  std::string marks = "a";
  for (int i = 0; i < 1 << 18; ++i) marks += i % 2 == 0 ? "\u0301" : "\u0323";
  CHECK(tokenizer.encode(marks).size() > 1000);  // NFC sorts them
}

TEST_CASE("unsupported byte-level files are rejected with the key", "[tokenizer]") {
  CHECK(refusal("llama3", "/version", "1.0") == "accepted");
  const std::string split = "/pre_tokenizer/pretokenizers/0";
  CHECK_THAT(refusal("llama3", split + "/pattern/Regex", R"(\p{L}+)"),
             Contains("pre_tokenizer.pretokenizers[0].pattern.Regex") && Contains("Llama 3"));
  CHECK_THAT(refusal("llama3", split + "/pattern", {{"String", " "}}), Contains("pattern.Regex"));
  CHECK_THAT(refusal("llama3", split + "/behavior", "MergedWithNext"),
             Contains("pretokenizers[0].behavior"));
  CHECK_THAT(refusal("llama3", split + "/behavior", "Removed"), Contains("invert"));
  CHECK(refusal("llama3", split + "/invert", true) == "accepted");
  CHECK_THAT(refusal("llama3", split, {{"type", "Punctuation"}}),
             Contains("pretokenizers[0].type") && Contains("Punctuation"));
  CHECK_THAT(refusal("llama3", "/pre_tokenizer/pretokenizers/1", {{"type", "Whitespace"}}),
             Contains("pretokenizers[1].type"));
  CHECK_THAT(refusal("llama3", "/pre_tokenizer/pretokenizers/1/add_prefix_space", nullptr),
             Contains("pretokenizers[1].add_prefix_space"));
  CHECK_THAT(refusal("smollm2", "/pre_tokenizer/pretokenizers/0/individual_digits", nullptr),
             Contains("individual_digits"));
  CHECK_THAT(refusal("llama3", "/pre_tokenizer/pretokenizers", json::array()),
             Contains("pre_tokenizer.pretokenizers"));
  json steps = json::array();
  for (int i = 0; i < 8; ++i) steps.push_back({{"type", "Digits"}, {"individual_digits", true}});
  steps.push_back({{"type", "ByteLevel"}, {"add_prefix_space", false}});
  CHECK_THAT(refusal("llama3", "/pre_tokenizer/pretokenizers", steps), Contains("8 steps"));
  steps.erase(0);
  CHECK(refusal("llama3", "/pre_tokenizer/pretokenizers", steps) == "accepted");
  CHECK_THAT(refusal("qwen2", "/normalizer/type", "NFD"),
             Contains("normalizer.type") && Contains("NFC"));
  const json replace = {{"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", "b"}};
  CHECK_THAT(refusal("qwen2", "/normalizer",
                     {{"type", "Sequence"}, {"normalizers", {{{"type", "NFC"}}, replace}}}),
             Contains("NFC alone"));
  CHECK_THAT(refusal("qwen2", "/post_processor/type", "RobertaProcessing"),
             Contains("post_processor.type"));
  const json bos = json::parse(read_file(file_of("llama3")))["post_processor"]["processors"][1];
  CHECK_THAT(refusal("llama3", "/post_processor/processors/0", bos),
             Contains("post_processor.processors[1].type"));
  CHECK_THAT(
      refusal("qwen2", "/decoder",
              {{"type", "Sequence"}, {"decoders", {{{"type", "ByteLevel"}}, {{"type", "Fuse"}}}}}),
      Contains("decoders[0].type") && Contains("alone"));
  CHECK_THAT(refusal("qwen2", "/model/byte_fallback", true), Contains("<0x00>"));
}
