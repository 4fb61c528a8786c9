// tokenizer_from_sentencepiece against ids of the SentencePiece library.
#include "pllava/text/tokenizer_sentencepiece.hpp"

#include <nlohmann/json.hpp>

#include "support/catch.hpp"
#include "support/temp_directory.hpp"
#include "support/tokenizer_goldens.hpp"

namespace {

using Catch::Matchers::Contains;
using nlohmann::json;
using pllava::LoadError;
using pllava::Tokenizer;
using pllava::tokenizer_from_sentencepiece;
using namespace test;

const std::filesystem::path kGoldens = std::filesystem::path(PLLAVA_TEST_DATA) / "tokenizer";
const std::filesystem::path kModel = kGoldens / "sentencepiece" / "tokenizer.model";

// Serialization of protocol buffer messages.
std::string varint(std::uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes += static_cast<char>((value & 0x7f) | 0x80);
  return bytes + static_cast<char>(value);
}
std::string field(unsigned number, std::uint64_t value) {
  return varint(number << 3) + varint(value);
}
std::string field(unsigned number, const std::string& bytes) {
  return varint(number << 3 | 2) + varint(bytes.size()) + bytes;
}
std::string piece(const std::string& text, std::uint64_t kind) {
  return field(1, field(1, text) + field(3, kind));
}

/// A small model with this model_type (2: BPE) and additional normalizer_spec fields.
std::string model(std::uint64_t algorithm, const std::string& normalizer,
                  const std::string& last_piece = piece("b", 1)) {
  return piece("<unk>", 2) + piece("<s>", 3) + piece("</s>", 3) + piece("a", 1) + last_piece +
         field(2, field(3, algorithm)) + field(3, field(1, std::string("identity")) + normalizer);
}

const std::string kKeepSpaces = field(4, 0);

std::string refusal(const std::string& content, const std::string& config_name = "",
                    const std::string& config_content = "") {
  const test::TempDirectory directory;
  const auto path = directory.write("tokenizer.model", content);
  if (!config_name.empty()) directory.write(config_name, config_content);
  try {
    tokenizer_from_sentencepiece(path);
  } catch (const LoadError& e) {
    return e.what();
  }
  return "accepted";
}

}  // namespace

TEST_CASE("ids of random strings equal the SentencePiece library's", "[tokenizer_sentencepiece]") {
  const Tokenizer tokenizer = tokenizer_from_sentencepiece(kModel);
  const auto fragments = json::parse(read_file(kGoldens / "goldens.json"))["fragments"]
                             .get<std::vector<std::string>>();
  const std::string hashes = read_file(kModel.parent_path() / "ids.hashes");
  int wrong = 0, compared = 0;
  for (std::size_t i = 0; i < hashes.size() / 4; ++i) {
    SplitMix64 rng(i);
    const std::string text = random_text(rng, fragments);
    const std::uint32_t expected = word_at(hashes, i);
    if (expected == 0) continue;  // contains an added token, which the library does not match
    ++compared;
    const Ids ids = tokenizer.encode(text);
    if (hash_of(ids) == expected) continue;
    if (++wrong <= 5) UNSCOPED_INFO("string " << i << ": " << json(text) << " " << json(ids));
  }
  CHECK(wrong == 0);
  CHECK(compared > 1000);
}

TEST_CASE("added and control tokens are matched in the text", "[tokenizer_sentencepiece]") {
  const Tokenizer tokenizer = tokenizer_from_sentencepiece(kModel);
  CHECK(tokenizer.id_of("<image>") == 600);
  CHECK(tokenizer.is_special(600));
  CHECK(tokenizer.bos_id() == 1);
  const Ids ids = tokenizer.encode("USER: <image>\n What?</s>");
  CHECK(std::count(ids.begin(), ids.end(), 600) == 1);
  CHECK(ids.back() == 2);
  CHECK(tokenizer.decode(ids) == "USER:  \n What?");
  CHECK_FALSE(tokenizer.is_special(*tokenizer.id_of("<|tool|>")));
}

TEST_CASE("tokenizer_config.json determines BOS and added tokens", "[tokenizer_sentencepiece]") {
  const test::TempDirectory directory;
  const auto path = directory.write("tokenizer.model", read_file(kModel));
  CHECK(tokenizer_from_sentencepiece(path).bos_id() == 1);
  CHECK_FALSE(tokenizer_from_sentencepiece(path).id_of("<image>"));
  directory.write("tokenizer_config.json", R"({"add_bos_token": false, "added_tokens_decoder": {
      "1": {"content": "<s>", "special": true},
      "600": {"content": "<image>", "special": true},
      "601": {"content": "<|im_start|>", "special": false, "rstrip": true}}})");
  const Tokenizer tokenizer = tokenizer_from_sentencepiece(path);
  CHECK_FALSE(tokenizer.bos_id());
  CHECK(tokenizer.id_of("<image>") == 600);
  CHECK(tokenizer.encode("<|im_start|>  <image>") == Ids{601, 600});
  CHECK_FALSE(tokenizer.is_special(601));
}

TEST_CASE("unsupported models are rejected with the field's name", "[tokenizer_sentencepiece]") {
  CHECK(refusal(model(2, kKeepSpaces)) == "accepted");
  CHECK_THAT(refusal("not a model"), Contains("not a SentencePiece model"));
  CHECK_THROWS_AS(tokenizer_from_sentencepiece("absent/tokenizer.model"), LoadError);
  CHECK_THAT(refusal(model(1, kKeepSpaces)), Contains("model_type") && Contains("got 1"));
  CHECK_THAT(refusal(model(2, "")), Contains("remove_extra_whitespaces"));
  CHECK_THAT(refusal(model(2, kKeepSpaces + field(5, 0))), Contains("escape_whitespaces"));
  CHECK_THAT(refusal(model(2, kKeepSpaces, piece("b", 5))), Contains("UNUSED"));
  const std::string good = model(2, kKeepSpaces);
  CHECK_THAT(refusal(good, "added_tokens.json", "[1]"), Contains("not a JSON object"));
  CHECK_THAT(refusal(good, "added_tokens.json", R"({"<image>": "x"})"), Contains("<image>"));
  CHECK_THAT(refusal(good, "added_tokens.json", R"({"<image>": 3})"),
             Contains("another token's id"));
  CHECK_THAT(refusal(good, "tokenizer_config.json", R"({"added_tokens_decoder": {"x": {}}})"),
             Contains("added_tokens_decoder"));
  CHECK_THAT(refusal(good, "tokenizer_config.json", R"({"add_bos_token": "yes"})"),
             Contains("add_bos_token"));
}
