// pllava quality.
#include <cstddef>
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

const std::string kWords = "A short text, which has more tokens than are compared with each other.";

struct TextFile : TempDirectory {
  std::string path(const std::string& text = kWords) const {
    return write("text.txt", text).string();
  }
};

json quality(const std::vector<std::string>& options) {
  std::vector<std::string> arguments = {"quality", "--model", tiny_model()};
  arguments.insert(arguments.end(), options.begin(), options.end());
  return succeed_json(arguments).at(0);
}

TEST_CASE("quality is that of equal models for one model in one type", "[program]") {
  const TextFile text;
  const json q =
      quality({"--dtype", "f32", "--text", text.path(), "--tokens", "12", "--video", clip()});
  CHECK(q["tokens"] == 12);
  CHECK(q["mean_kl"] == 0.0);
  CHECK(q["same_top"] == 12);
  CHECK(q["perplexity"] == q["base_perplexity"]);
  CHECK(q["perplexity"].get<double>() > 1.0);
  CHECK(q["feature_l2"] == 0.0);
}

TEST_CASE("quality shows the loss of narrower types", "[program]") {
  const TextFile text;
  const auto of = [&](const char* dtype) {
    return quality({"--dtype", dtype, "--text", text.path(), "--video", clip()});
  };
  const json bf16 = of("bf16"), int8 = of("int8"), int4 = of("int4");
  const auto kl = [](const json& q) { return q["mean_kl"].get<double>(); };
  CHECK(kl(bf16) > 0.0);
  CHECK(kl(int8) > kl(bf16));
  CHECK(kl(int4) > kl(int8));
  CHECK(int8["feature_l2"].get<double>() > bf16["feature_l2"].get<double>());
  // The other way round, the roles of the models change.
  const json swapped = quality({"--dtype", "f32", "--against", tiny_model(), "--against-dtype",
                                "int8", "--text", text.path()});
  CHECK(swapped["perplexity"] == int8["base_perplexity"]);
  CHECK(swapped["base_perplexity"] == int8["perplexity"]);
  CHECK(swapped["feature_l2"].is_null());
}

TEST_CASE("quality compares language models alone", "[program]") {
  const TextFile text;
  const std::string model = PLLAVA_TEST_DATA "/gguf_model/llama.gguf";
  const json q = succeed_json({"quality", "--model", model, "--dtype", "int8", "--against", model,
                               "--text", text.path("the cat in the hat")})
                     .at(0);
  CHECK(q["mean_kl"].get<double>() > 0.0);
  CHECK(q["tokens"].get<int>() > 4);
}

TEST_CASE("what quality cannot compare is an error", "[program]") {
  const TextFile text;
  const auto check_failure = [](const std::vector<std::string>& arguments, int code,
                                const std::string& part) {
    std::vector<std::string> all = {"quality"};
    all.insert(all.end(), arguments.begin(), arguments.end());
    const Result result = run(all);
    INFO(result.err);
    CHECK(result.code == code);
    CHECK(contains(result.err, part));
    CHECK(result.out.empty());
  };
  const std::string path = text.path(), gguf = PLLAVA_TEST_DATA "/gguf_model/llama.gguf";
  check_failure({"--model", tiny_model(), "--text", path + "x"}, 1, "cannot be opened");
  check_failure({"--model", tiny_model(), "--text", path, "--tokens", "1"}, 1, "at least 2");
  check_failure({"--model", tiny_model(), "--text", path, "--against", gguf}, 1, "tokenizers");
  check_failure({"--model", gguf, "--text", path, "--video", clip()}, 1, "no vision tower");
  check_failure({"--model", tiny_model(), "--text", text.path("\xff\xfe")}, 1, "UTF-8");
  check_failure({"--random-weights", "tiny", "--text", path}, 2, "--model");
  check_failure({"--model", tiny_model()}, 2, "--text");
}

}  // namespace
