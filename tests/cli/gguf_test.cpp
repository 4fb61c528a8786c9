// GGUF files on the command line.
#include <filesystem>
#include <string>
#include <vector>

#include "cli/child.hpp"
#include "cli/fixture.hpp"
#include "support/catch.hpp"
#include "support/temp_directory.hpp"

namespace {

using namespace test;
using nlohmann::json;

const std::filesystem::path kGguf = std::filesystem::path(PLLAVA_TEST_DATA) / "gguf_model";
const std::string kText = (kGguf / "llama.gguf").string();
const std::string kVision = (kGguf / "vision.gguf").string();

TEST_CASE("a video model in GGUF files answers on the command line", "[program]") {
  const auto caption = [](const std::string& vision, const std::vector<std::string>& options) {
    std::vector<std::string> arguments = {"caption",  clip(),  "--model",          kText,
                                          "--mmproj", vision,  "--frames",         "4",
                                          "--pool",   "4x2x2", "--max-new-tokens", "6"};
    arguments.insert(arguments.end(), options.begin(), options.end());
    return succeed(arguments);
  };
  const std::string expected = caption(kVision, {});
  CHECK(caption((kGguf / "vision_older.gguf").string(), {}) == expected);
  const test::TempDirectory temp;
  for (int run = 0; run < 2; ++run)
    CHECK(caption(kVision, {"--cache", (temp / "packed").string()}) == expected);
  caption(kVision, {"--dtype", "int8"});
  const std::vector<json> parts =
      succeed_json({"bench", "--model", kText, "--mmproj", kVision, "--runs", "1", "--frames", "2",
                    "--until", "vision"});
  CHECK(parts[0]["model"] == kText);
}

TEST_CASE("inspect shows GGUF files with and without a vision tower", "[program]") {
  const json alone = json::parse(succeed({"inspect", (kGguf / "qwen2.gguf").string(), "--json"}));
  CHECK(alone["config"]["model_type"] == "qwen2");
  CHECK(alone["config"]["has_vision"] == false);
  CHECK(alone["config"]["text"]["vocab"] == 67);
  CHECK(alone["memory_bytes"]["bf16"]["kv_per_clip"] == 0);
  const json both = json::parse(succeed({"inspect", kText, "--mmproj", kVision, "--json"}));
  CHECK(both["config"]["has_vision"] == true);
  CHECK(both["config"]["conversation_template"] == "llava");
  CHECK(both["gguf"] == json({{"architecture", "llama"},
                              {"tokenizer", "llama"},
                              {"pre_tokenizer", "default"},
                              {"tokens", 150},
                              {"chat_template", true}}));
  CHECK(both["report"]["files"] == json({kText, kVision}));
  const std::string text = succeed({"inspect", kText});
  for (const char* part :
       {"GGUF:     architecture llama, tokenizer llama (default) of 150 tokens, a chat template",
        "vision:   none, llama alone", "vocabulary 150", "21 F32"}) {
    INFO(text);
    CHECK(contains(text, part));
  }
}

TEST_CASE("GGUF files in the wrong place are errors that say what is expected", "[program]") {
  const auto check_failure = [](const std::vector<std::string>& arguments, int code,
                                const std::string& part) {
    const Result result = run(arguments);
    INFO(result.err);
    CHECK(result.code == code);
    CHECK(result.out.empty());
    CHECK(contains(result.err, part));
  };
  check_failure({"caption", clip(), "--model", kText}, 1, "needs --mmproj");
  check_failure({"caption", clip(), "--model", kVision}, 1, "for --mmproj");
  check_failure({"caption", clip(), "--model", kText, "--mmproj", kText}, 1,
                "is not a vision tower");
  check_failure({"caption", clip(), "--model", tiny_model(), "--mmproj", kVision}, 1,
                "needs a model that is a GGUF file");
  check_failure({"caption", clip(), "--random-weights", "tiny", "--mmproj", kVision}, 2,
                "--mmproj needs --model");
  check_failure({"inspect", kVision}, 1, "is a vision tower");
  const test::TempDirectory temp;
  check_failure({"quantize", kText, "--dtype", "int8", "--out", (temp / "out").string()}, 1,
                "quantize needs a directory");
}

}  // namespace
