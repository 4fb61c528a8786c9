// trace, bench and help.
#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "cli/fixture.hpp"
#include "pllava/models/architecture.hpp"
#include "pllava/models/model_config.hpp"
#include "pllava/version.hpp"
#include "pllava/weights/safetensors.hpp"
#include "support/catch.hpp"

namespace {

using namespace test;
using nlohmann::json;
using pllava::Index;
using Indices = std::vector<Index>;
using Ids = std::vector<std::int32_t>;

TEST_CASE("trace writes the intermediate tensors of a run", "[program]") {
  const std::string out = (workspace() / "trace.safetensors").string();
  const std::vector<std::string> arguments = {"trace",      clip(),  "--model",
                                              tiny_model(), "--out", out};
  CHECK(succeed(arguments) == out + '\n');
  const auto file = pllava::SafetensorsFile::open(out);
  struct Expected {
    std::string dtype;
    std::vector<Index> dims;
  };
  const json answer = succeed_json(on_tiny({"caption", clip()}))[0];
  const Ids prompt = answer["prompt_ids"], output = answer["output_ids"];
  const pllava::ModelConfig config = pllava::read_model_config(tiny_model());
  const Index V = config.text.vocab;
  const std::map<std::string, Expected> expected = {
      {"frame_indices", {"I32", {16}}},
      {"frames", {"U8", {16, 56, 56, 3}}},
      {"pixel_values", {"F32", {16, 3, 56, 56}}},
      {"vision_features", {"F32", {16, 16, 64}}},
      {"video_embeddings", {"F32", {64, 64}}},
      {"prompt_ids", {"I32", {static_cast<Index>(prompt.size())}}},
      {"logits", {"F32", {V}}}};
  CHECK(file.entries().size() == expected.size());
  for (const auto& [name, e] : expected) {
    INFO(name);
    const pllava::SafetensorsEntry* entry = file.find(name);
    REQUIRE(entry != nullptr);
    CHECK(entry->format_dtype == e.dtype);
    CHECK(entry->dims == e.dims);
  }
  const auto values = [&]<class T>(const std::string& name, T) {
    const pllava::HostTensor t = file.tensor(name);
    const auto* data = reinterpret_cast<const T*>(t.data);
    return std::vector<T>(data, data + t.shape.count());
  };
  const auto indices = values("frame_indices", std::int32_t{});
  CHECK(Indices(indices.begin(), indices.end()) == eval_indices_of_clip(16));
  CHECK(values("prompt_ids", std::int32_t{}) == prompt);
  const auto logits = values("logits", float{});
  CHECK(std::ranges::max_element(logits) - logits.begin() == output.front());  // greedy
  // pixel_values are the normalized frames; checked for the red channel of the first pixel.
  const auto frames = values("frames", std::uint8_t{});
  const auto pixels = values("pixel_values", float{});
  CHECK(pixels[0] == Approx((frames[0] / 255.0 - 0.48145466) / 0.26862954).margin(1e-5));
  CHECK(std::ranges::any_of(frames, [&](std::uint8_t v) { return v != frames[0]; }));

  std::vector<std::string> quiet = arguments;
  quiet.push_back("--quiet");
  CHECK(succeed(quiet) == "");
}

TEST_CASE("bench measures every part of a model and its ceiling", "[program]") {
  const auto objects =
      succeed_json({"bench", "--random-weights", "tiny", "--runs", "1", "--threads", "2"});
  REQUIRE(objects.size() == 1);
  const std::vector<std::string> parts = {"vision", "projector",       "prefill",
                                          "decode", "second question", "frames to first token"};
  std::vector<std::string> names;
  for (const json& part : objects[0].at("parts")) {
    names.push_back(part.at("part"));
    CHECK(part.at("median_ms") > 0);
    CHECK(part.at("of_ceiling") > 0);
  }
  CHECK(names == parts);
  CHECK(
      succeed_json({"bench", "--random-weights", "tiny", "--runs", "1", "--until", "projector"})[0]
          .at("parts")
          .size() == 2);
  const std::string table = succeed(
      {"bench", "--random-weights", "tiny", "--runs", "1", "--text-rows", "3", "--frames", "2"});
  for (const std::string& name : parts) CHECK(contains(table, name));
  const json quantized = succeed_json({"bench", "--random-weights", "tiny", "--runs", "1",
                                       "--dtype", "int4", "--int8-kv", "--frames", "2"})[0];
  CHECK(quantized["lm_weights"] == "int4");
  for (const json& part : quantized["parts"]) {
    CHECK(part["of_ceiling"] > 0);
    const json& work = part["work"];
    CHECK((work["int8_operations"] > 0 || work["int4_operations"] > 0) ==
          (part["part"] != "decode"));
  }
}

TEST_CASE("help lists the commands and their options", "[program]") {
  CHECK(succeed({"--version"}) == "pllava " PLLAVA_VERSION "\n");
  const std::string help = succeed({"--help"});
  for (const std::string command : {"caption", "ask", "chat", "trace", "inspect", "write-random"}) {
    INFO(command);
    CHECK(contains(help, "\n  " + command + ' '));
    const std::string own = succeed({command, "--help"});
    CHECK(contains(own, "Example"));
    CHECK(contains(own, "pllava " + command + ' '));
  }
  const std::string caption = succeed({"caption", "--help"});
  for (const std::string option :
       {"--prompt",       "--template", "--frames",     "--pool",
        "--sampling",     "--start",    "--end",        "--dtype",
        "--device",       "--threads",  "--lora-alpha", "--max-new-tokens",
        "--temperature",  "--top-p",    "--top-k",      "--repetition-penalty",
        "--seed",         "--json",     "--quiet",      "--random-weights",
        "--parse-special"}) {
    INFO(option);
    CHECK(contains(caption, "\n  " + option + ' '));
  }
}

}  // namespace
