// inspect and quantize, and the files of a checkpoint.
#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "cli/child.hpp"
#include "cli/fixture.hpp"
#include "pllava/models/architecture.hpp"
#include "pllava/models/model_config.hpp"
#include "pllava/weights/safetensors.hpp"
#include "support/catch.hpp"
#include "support/temp_directory.hpp"

namespace {

using namespace test;
using nlohmann::json;
using pllava::Index;

TEST_CASE("inspect shows a checkpoint and its memory use", "[program]") {
  const json j = json::parse(succeed({"inspect", tiny_model(), "--json"}));
  const pllava::ModelConfig config = pllava::read_model_config(tiny_model());
  CHECK(j["directory"] == tiny_model());
  CHECK(j["config"]["frames"] == 16);
  CHECK(j["config"]["vision"]["used_layers"] == 2);
  CHECK(j["config"]["pool"]["output"] == json({16, 2, 2}));
  CHECK(j["config"]["text"]["kv_heads"] == 2);
  CHECK(j["config"]["text"]["vocab"] == config.text.vocab);
  const json& report = j["report"];
  const Index parameters = report["parameters"];
  CHECK(report["dtypes"] == json({{"BF16", report["tensors"]}}));
  CHECK(report["bytes"] == 2 * parameters);
  CHECK(report["lora"]["layers"] == 0);
  for (const char* defects : {"missing", "misshapen", "wrong_dtype", "unused"})
    CHECK(report[defects] == json::array());

  const json &f32 = j["memory_bytes"]["f32"], &bf16 = j["memory_bytes"]["bf16"];
  CHECK(f32["weights"] == 4 * parameters);
  CHECK(bf16["weights"].get<Index>() >= 2 * parameters);  // vectors stay in f32
  CHECK(bf16["weights"].get<double>() < 2.1 * static_cast<double>(parameters));
  // keys and values, 2 layers, 2 heads, head_dim 16; 64 rows of a clip and 1,024 of the context
  CHECK(f32["kv_per_clip"] == 2 * 2 * 2 * 16 * 64 * 4);
  CHECK(f32["kv_per_context"] == 2 * 2 * 2 * 16 * 1024 * 4);
  CHECK(bf16["kv_per_clip"] == 2 * 2 * 2 * 16 * 64 * 2);
  const json &int8 = j["memory_bytes"]["int8"], &int4 = j["memory_bytes"]["int4"];
  CHECK(int4["weights"] < int8["weights"]);
  // the embedding table and the patch embedding are never quantized
  CHECK(int4["weights"] > 2 * config.text.vocab * config.text.width);
  CHECK(int8["weights"] < bf16["weights"]);
  CHECK(int4["kv_per_clip"] == bf16["kv_per_clip"]);
  for (const json& need : {f32, bf16, int8, int4})
    CHECK(need["total"] == need["weights"].get<Index>() + need["kv_per_context"].get<Index>() +
                               need["scratch"].get<Index>());

  const std::string text = succeed({"inspect", tiny_model()});
  for (const std::string part : {"3 layers (2 used)", "16 frames to 16x2x2", "context 1024",
                                 "memory in f32: ", "memory in int4: ", "62 BF16"}) {
    INFO(part << " in " << text);
    CHECK(contains(text, part));
  }
  CHECK(contains(text, std::to_string(parameters) + " parameters"));
}

TEST_CASE("inspect reports the merged LoRA and loads an adapter with its base", "[program]") {
  const auto models = std::filesystem::path(PLLAVA_TEST_DATA) / "model";
  const auto report = [](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "inspect");
    arguments.push_back("--json");
    return json::parse(succeed(arguments)).at("report");
  };
  const json sharded = report({(models / "peft_sharded").string(), "--lora-alpha", "8"});
  CHECK(sharded["lora"] == json({{"layers", 4},
                                 {"rank", 8},
                                 {"alpha", 8.0},
                                 {"alpha_source", "option"},
                                 {"alpha_patterned", 0},
                                 {"rank_stabilized", false}}));
  CHECK(sharded["files"].size() == 3);
  const json adapter =
      report({(models / "adapter").string(), "--base", (models / "adapter_base").string()});
  CHECK(adapter["lora"]["alpha"] == 4.0);
  CHECK(adapter["lora"]["alpha_source"] == "default");
  CHECK(adapter["files"].size() == 2);
  const auto peft = std::filesystem::path(PLLAVA_TEST_DATA) / "peft";
  const json patterns = report({(peft / "patterns").string(), "--base", (peft / "base").string()});
  CHECK(patterns["lora"]["alpha"] == 6.0);
  CHECK(patterns["lora"]["alpha_source"] == "adapter_config.json");
  CHECK(patterns["lora"]["rank_stabilized"] == true);
}

TEST_CASE("option --cache writes packed weights once and reads them later", "[program]") {
  const test::TempDirectory temp;
  const std::string cache = temp / "packed";
  const auto caption = [&](const std::vector<std::string>& options) {
    std::vector<std::string> arguments = on_tiny({"caption", clip(), "--dtype", "int8"});
    arguments.insert(arguments.end(), options.begin(), options.end());
    return succeed(arguments);
  };
  const std::string expected = caption({});
  CHECK(caption({"--cache", cache}) == expected);
  REQUIRE(std::filesystem::exists(cache));
  const auto written = std::filesystem::last_write_time(cache);
  CHECK(caption({"--cache", cache}) == expected);
  CHECK(std::filesystem::last_write_time(cache) == written);
}

TEST_CASE("quantize writes a checkpoint that answers like quantization at load time", "[program]") {
  const test::TempDirectory temp;
  const std::string out = temp / "quantized";
  CHECK(succeed({"quantize", tiny_model(), "--dtype", "int4", "--out", out}) == "");
  const auto caption = [](const std::string& model, const std::vector<std::string>& options) {
    std::vector<std::string> arguments = {"caption", clip(), "--model", model};
    arguments.insert(arguments.end(), options.begin(), options.end());
    return succeed(arguments);
  };
  CHECK(caption(out, {}) == caption(tiny_model(), {"--dtype", "int4"}));
  const json j = json::parse(succeed({"inspect", out, "--json"}));
  CHECK(j["report"]["parameters"] ==
        json::parse(succeed({"inspect", tiny_model(), "--json"}))["report"]["parameters"]);
  CHECK(succeed_json({"bench", "--model", out, "--runs", "1", "--frames", "2"})[0]["lm_weights"] ==
        "int4");
  const Result again = run({"quantize", tiny_model(), "--dtype", "int8", "--out", out});
  CHECK(again.code == 1);
  CHECK(contains(again.err, "exists already"));
}

TEST_CASE("quantize --calibrate reports lower errors and writes a usable checkpoint", "[program]") {
  const test::TempDirectory temp;
  const std::string out = temp / "calibrated", text = temp / "text.txt";
  {
    std::ofstream file(text);
    for (int i = 0; i < 400; ++i) file << "line " << i * i << " of a text\n";
  }
  const auto calibrate = [&](const std::string& to) {
    return std::vector<std::string>{"quantize", tiny_model(), "--dtype", "int4", "--calibrate",
                                    clip(),     text,         "--out",   to};
  };
  const std::vector<json> objects = succeed_json(calibrate(out));
  REQUIRE(objects.size() == 1);
  const json& j = objects[0];
  CHECK(j["out"] == out);
  CHECK(j["calibrated_on"] == json{clip(), text});
  CHECK(j["error"] < j["rounding_error"]);
  const auto layers = static_cast<std::size_t>(pllava::ModelConfig::preset("tiny").text.layers);
  CHECK(j["matrices"].size() >= 7 * layers);
  for (const json& matrix : j["matrices"]) {
    CHECK(matrix["error"] <= matrix["rounding_error"]);
    CHECK(matrix["input_rows"] >= 256);
  }

  CHECK(succeed({"caption", clip(), "--model", out}).size() > 1);
  const auto entries = [](const std::string& model) {
    return pllava::SafetensorsFile::open(std::filesystem::path(model) / "model.safetensors")
        .entries()
        .size();
  };
  succeed({"quantize", tiny_model(), "--dtype", "int4", "--out", temp / "int4"});
  CHECK(entries(out) == entries(temp / "int4"));
  CHECK(contains(succeed(calibrate(temp / "again")), "matrices calibrated"));
  const Result again = run(calibrate(out));
  CHECK(again.code == 1);
  CHECK(contains(again.err, "exists already"));
  for (const char* missing : {"no.mp4", "no.txt"}) {
    std::vector<std::string> arguments = calibrate(temp / "none");
    arguments[5] = missing;
    CHECK(contains(run(arguments).err, missing));
  }
  for (const char* few : {"", "a", "too few words", "\xa5"}) {
    std::ofstream(text) << few;
    const Result result = run(
        {"quantize", tiny_model(), "--dtype", "int4", "--calibrate", text, "--out", temp / "none"});
    CHECK(result.code == 1);
    CHECK(contains(result.err, few[0] == '\xa5' ? text : "calibration: "));
  }
  CHECK(!std::filesystem::exists(temp / "none"));
}

#ifdef PLLAVA_HAS_SENTENCEPIECE
TEST_CASE("a checkpoint with tokenizer.model instead of tokenizer.json works", "[program]") {
  const std::filesystem::path model = copy_of_model("sentencepiece");
  std::filesystem::remove(model / "tokenizer.json");
  std::filesystem::copy(std::filesystem::path(PLLAVA_TEST_DATA) / "tokenizer" / "sentencepiece",
                        model);
  const json added = json::parse(std::ifstream(model / "added_tokens.json"));
  const std::string key = "\"image_token_index\": ";
  const Index image = pllava::read_model_config(tiny_model()).image_token;
  replace_in(model / "config.json", key + std::to_string(image), key + added["<image>"].dump());
  const json j =
      succeed_json({"caption", clip(), "--model", model.string(), "--max-new-tokens", "3"})[0];
  CHECK(std::ranges::count(j["prompt_ids"].get<std::vector<std::int32_t>>(),
                           added["<image>"].get<std::int32_t>()) == 1);
}
#endif

}  // namespace
