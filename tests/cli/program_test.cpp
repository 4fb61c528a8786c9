// The results of each command of the program pllava.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "cli/child.hpp"
#include "cli/fixture.hpp"
#include "pllava/media/frame_sampling.hpp"
#include "pllava/models/architecture.hpp"
#include "pllava/models/model_config.hpp"
#include "pllava/text/prompt.hpp"
#include "pllava/text/tokenizer.hpp"
#include "pllava/version.hpp"
#include "pllava/weights/safetensors.hpp"
#include "support/catch.hpp"
#include "support/clip_writer.hpp"
#include "support/temp_directory.hpp"

namespace {

using namespace test;
using nlohmann::json;
using pllava::Index;
using Indices = std::vector<Index>;
using Ids = std::vector<std::int32_t>;

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// Runs, and expects success and an empty stderr.
std::string succeed(const std::vector<std::string>& arguments, const std::string& input = {}) {
  const Result r = run(arguments, input);
  INFO(r.err);
  CHECK(r.code == 0);
  CHECK(r.err == "");  // no progress if stderr is not a terminal
  return r.out;
}

std::vector<json> succeed_json(std::vector<std::string> arguments, const std::string& input = {}) {
  arguments.push_back("--json");
  return json_lines(succeed(arguments, input));
}

Indices eval_of_clip(Index n) {
  return pllava::sample_indices(pllava::SamplingRule::eval, kClipFrames, n, kClipFps);
}

TEST_CASE("caption writes one line and is deterministic", "[program]") {
  const std::string text = succeed(on_tiny({"caption", clip()}));
  CHECK(text.size() > 1);
  CHECK(text.ends_with('\n'));
  CHECK(succeed(on_tiny({"caption", clip()})) == text);
  const auto objects = succeed_json(on_tiny({"caption", clip()}));
  REQUIRE(objects.size() == 1);
  CHECK(objects[0].at("text").get<std::string>() + '\n' == text);
  CHECK(contains(objects[0].at("prompt"), "Describe the video in details."));
}

TEST_CASE("the JSON of an answer is complete and consistent", "[program]") {
  const std::string line = succeed(on_tiny({"caption", clip(), "--prompt", "Who?", "--json"}));
  const auto j = nlohmann::ordered_json::parse(line);
  CHECK(std::ranges::count(line, '\n') == 1);
  CHECK(keys(j) == std::vector<std::string>{"video", "prompt", "text", "frame_indices",
                                            "frame_times", "prompt_ids", "output_ids",
                                            "finish_reason", "timings_ms", "prefill_tokens_per_s",
                                            "decode_tokens_per_s", "peak_memory_bytes"});
  CHECK(keys(j["timings_ms"]) == std::vector<std::string>{"load", "decode", "preprocess", "vision",
                                                          "project", "prefill", "generate"});
  CHECK(j["video"] == clip());
  CHECK(contains(j["prompt"], "Who?"));
  const Indices indices = j["frame_indices"];
  CHECK(indices == eval_of_clip(16));
  const std::vector<double> times = j["frame_times"];
  REQUIRE(times.size() == indices.size());
  for (std::size_t i = 0; i < times.size(); ++i)
    CHECK(times[i] == Approx(static_cast<double>(indices[i]) / kClipFps).margin(1e-6));

  const auto tokenizer = pllava::Tokenizer::from_file(tokenizer_file());
  const Ids prompt = j["prompt_ids"], output = j["output_ids"];
  CHECK(prompt == tokenizer.encode(j["prompt"].get<std::string>()));
  CHECK(std::ranges::count(prompt, *tokenizer.id_of("<image>")) == 1);
  REQUIRE(!output.empty());
  CHECK(output.size() <= 6);
  CHECK(j["finish_reason"] == (output.back() == 2 ? "eos" : "length"));
  for (const auto& [stage, ms] : j["timings_ms"].items()) {
    INFO(stage);
    CHECK(ms.get<double>() > 0);
  }
  CHECK(j["prefill_tokens_per_s"].get<double>() > 0);
  CHECK(j["decode_tokens_per_s"].get<double>() > 0);
  CHECK(j["peak_memory_bytes"].get<Index>() > 1 << 20);
}

TEST_CASE("ask encodes the video once and answers each question independently", "[program]") {
  const auto both = succeed_json(on_tiny({"ask", clip(), "What happens?", "Where is it?"}));
  REQUIRE(both.size() == 2);
  for (const char* stage : {"load", "decode", "preprocess", "vision", "project"}) {
    INFO(stage);  // exactly equal: measured once
    CHECK(both[0]["timings_ms"][stage] == both[1]["timings_ms"][stage]);
  }
  CHECK(contains(both[1]["prompt"], "Where is it?"));
  CHECK(!contains(both[1]["prompt"], "What happens?"));
  const Ids first = both[0]["prompt_ids"], second = both[1]["prompt_ids"];
  const auto video = pllava::Tokenizer::from_file(tokenizer_file()).id_of("<image>");
  const auto seen = std::ranges::find(first, *video);
  REQUIRE(seen != first.end());
  CHECK(std::equal(first.begin(), seen + 1, second.begin()));

  const auto alone = succeed_json(on_tiny({"ask", clip(), "Where is it?"}));
  REQUIRE(alone.size() == 1);
  CHECK(alone[0]["prompt_ids"] == both[1]["prompt_ids"]);
  CHECK(alone[0]["output_ids"] == both[1]["output_ids"]);

  CHECK(succeed(on_tiny({"ask", clip(), "What happens?", "Where is it?"})) ==
        "> What happens?\n" + both[0]["text"].get<std::string>() + "\n> Where is it?\n" +
            both[1]["text"].get<std::string>() + "\n");
}

TEST_CASE("chat keeps the previous questions and answers in its prompt", "[program]") {
  const std::string input = "What happens?\n\n  \nAnd then?\r\n";  // blank lines are ignored
  const auto answers = succeed_json(on_tiny({"chat", clip()}), input);
  REQUIRE(answers.size() == 2);
  CHECK(contains(answers[1]["prompt"], "What happens?"));
  CHECK(contains(answers[1]["prompt"], "And then?"));
  CHECK(!contains(answers[1]["prompt"], "\r"));
  const Ids first = answers[0]["prompt_ids"], second = answers[1]["prompt_ids"];
  REQUIRE(second.size() > first.size());
  CHECK(std::equal(first.begin(), first.end(), second.begin()));
  CHECK(succeed(on_tiny({"chat", clip()}), input) == answers[0]["text"].get<std::string>() + "\n" +
                                                         answers[1]["text"].get<std::string>() +
                                                         "\n");
  CHECK(succeed(on_tiny({"chat", clip()})) == "");
}

TEST_CASE("chat reports an invalid question and continues", "[program]") {
  const Result r = run(on_tiny({"chat", clip(), "--json"}), "An <image>?\nWhat happens?\n");
  CHECK(r.code == 1);
  CHECK(contains(r.err, "<image>"));
  CHECK(std::ranges::count(r.err, '\n') == 1);
  const auto answers = json_lines(r.out);
  REQUIRE(answers.size() == 1);
  CHECK(answers[0]["output_ids"] ==
        succeed_json(on_tiny({"ask", clip(), "What happens?"}))[0]["output_ids"]);
}

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
  CHECK(Indices(indices.begin(), indices.end()) == eval_of_clip(16));
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
  CHECK(sharded["lora"] == json({{"layers", 4}, {"rank", 8}, {"alpha", 8.0}}));
  CHECK(sharded["files"].size() == 3);
  const json adapter =
      report({(models / "adapter").string(), "--base", (models / "adapter_base").string()});
  CHECK(adapter["lora"]["alpha"] == 4.0);
  CHECK(adapter["files"].size() == 2);
}

TEST_CASE("caption accepts a directory of frames, an image and a GIF", "[program]") {
  const auto directory = workspace() / "frames";
  std::filesystem::create_directory(directory);
  for (int i = 1; i <= 12; ++i)
    std::ofstream(directory / ("frame" + std::to_string(i) + ".ppm"), std::ios::binary)
        << ppm(48, 32, 20 * i);
  const auto image = directory / "frame3.ppm";
  const auto gif = workspace() / "clip.gif";
  write_clip(gif, {.codec = "gif", .frames = 10, .fps = 10});
  const auto indices = [](const std::filesystem::path& video) {
    return succeed_json(on_tiny({"caption", video.string(), "--frames", "4"}))[0]["frame_indices"]
        .get<Indices>();
  };
  Indices numbers = pllava::image_numbers(12, 4);
  for (Index& number : numbers) --number;  // image numbers start at 1, frame indices at 0
  CHECK(indices(directory) == numbers);
  CHECK(indices(image) == Indices{0, 0, 0, 0});
  CHECK(indices(gif) == pllava::sample_indices(pllava::SamplingRule::eval, 10, 4, 10));
}

TEST_CASE("clip options select the frames", "[program]") {
  const auto indices = [](std::vector<std::string> options) {
    options.insert(options.begin(), {"caption", clip()});
    return succeed_json(on_tiny(std::move(options)))[0]["frame_indices"].get<Indices>();
  };
  CHECK(indices({"--frames", "5"}) == eval_of_clip(5));
  CHECK(indices({"--sampling", "demo", "--frames", "7"}) == pllava::demo_indices(kClipFrames, 7));
  CHECK(indices({"--start", "0.5", "--end", "1", "--frames", "4"}) ==
        pllava::sample_indices(pllava::SamplingRule::eval, kClipFrames, 4, kClipFps,
                               pllava::TimeRange{0.5, 1}));
  const Indices late = indices({"--start", "1.5", "--frames", "4"});
  CHECK(std::ranges::min(late) >= 30);
  const Indices early = indices({"--end", "0.5", "--frames", "4"});
  CHECK(std::ranges::max(early) <= 10);
}

TEST_CASE("prompt and generation options change the prompt and the tokens", "[program]") {
  const auto answer = [](std::vector<std::string> options) {
    options.insert(options.begin(), {"ask", clip(), "What happens?"});
    return succeed_json(on_tiny(std::move(options)))[0];
  };
  const json greedy = answer({});
  CHECK(contains(answer({"--task", "mvbench"})["prompt"], "Best option:("));
  CHECK(answer({"--template", "eval_videoqabench"})["prompt"] != greedy["prompt"]);
  CHECK(contains(json_lines(succeed(on_tiny({"caption", clip(), "--task", "recaption", "--json"})))
                     .at(0)["prompt"],
                 pllava::task_prompt("recaption").query));

  const std::string text = greedy["text"];
  const json stopped = answer({"--stop", text.substr(0, 1)});
  CHECK(stopped["finish_reason"] == "stop");
  CHECK(stopped["text"] == "");

  const std::vector<std::string> hot = {"--temperature", "5", "--top-k", "50", "--top-p", "0.9"};
  const auto sampled = [&](const std::string& seed) {
    std::vector<std::string> options = hot;
    options.insert(options.end(), {"--seed", seed});
    return answer(options)["output_ids"];
  };
  CHECK(sampled("1") == sampled("1"));
  CHECK(sampled("1") != sampled("2"));
  CHECK(answer({"--repetition-penalty", "100"})["output_ids"] != greedy["output_ids"]);
  CHECK(answer({"--min-new-tokens", "6"})["output_ids"].size() == 6);
  CHECK(answer({"--pool", "4x1x1"})["output_ids"] != greedy["output_ids"]);
}

TEST_CASE("caption continues after a broken video", "[program]") {
  const std::string broken = (workspace() / "broken.mp4").string();
  std::ofstream(broken) << "not a video";
  const Result r = run(on_tiny({"caption", clip(), broken, clip()}));
  CHECK(r.code == 1);
  const std::string answer = clip() + ": " + succeed(on_tiny({"caption", clip()}));
  CHECK(r.out == answer + answer);
  CHECK(r.err.starts_with("pllava: " + broken + ": "));
  CHECK(std::ranges::count(r.err, '\n') == 1);
}

TEST_CASE("option --random-weights runs without a checkpoint", "[program]") {
  const auto answer = [](const std::string& seed, const std::string& dtype) {
    return succeed_json({"caption", clip(), "--random-weights", "tiny", "--dtype", dtype, "--seed",
                         seed, "--max-new-tokens", "12", "--prompt", "Who?"})[0];
  };
  const json j = answer("3", "f32");
  CHECK(j["output_ids"] == answer("3", "f32")["output_ids"]);
  CHECK(j["output_ids"] != answer("4", "f32")["output_ids"]);
  // One token per byte, one for the start of text, and one for the video.
  const std::string prompt = j["prompt"];
  CHECK(j["prompt_ids"].size() == prompt.size() - std::string("<image>").size() + 2);
  const json half = answer("3", "bf16");
  CHECK(half["prompt_ids"] == j["prompt_ids"]);
  CHECK(!half["output_ids"].empty());
}

TEST_CASE("weight formats can be chosen for vision and language", "[program]") {
  const auto caption = [](const std::vector<std::string>& options) {
    std::vector<std::string> arguments = on_tiny({"caption", clip()});
    arguments.insert(arguments.end(), options.begin(), options.end());
    return succeed(arguments);
  };
  CHECK(caption({"--dtype", "int8"}).size() > 1);
  CHECK(caption({"--dtype", "int4"}) ==
        caption({"--dtype", "bf16", "--vision-weights", "int8", "--lm-weights", "int4"}));
  CHECK(caption({"--vision-weights", "unquantized", "--lm-weights", "unquantized", "--dtype",
                 "int8"}) == caption({"--dtype", "bf16"}));
  CHECK(caption({"--dtype", "int4", "--group", "128", "--zero-points"}).size() > 1);
  CHECK(caption({"--int8-kv"}).size() > 1);
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
  const std::string out = temp / "awq", uncalibrated = temp / "int4";
  const auto calibrate = [](const std::string& to) {
    return std::vector<std::string>{"quantize", tiny_model(), "--dtype", "int4", "--calibrate",
                                    clip(),     clip(),       "--out",   to};
  };
  const std::vector<json> objects = succeed_json(calibrate(out));
  REQUIRE(objects.size() == 1);
  const json& j = objects[0];
  CHECK(j["out"] == out);
  CHECK(j["videos"] == json{clip(), clip()});
  CHECK(j["error"] < j["unscaled_error"]);
  const auto layers = static_cast<std::size_t>(pllava::ModelConfig::preset("tiny").text.layers);
  REQUIRE(j["products"].size() == 4 * layers);
  for (const json& projection : j["products"])
    CHECK(projection["error"] <= projection["unscaled_error"]);
  CHECK(j["products"][0]["product"] == "qkv");

  CHECK(succeed({"caption", clip(), "--model", out}).size() > 1);
  succeed({"quantize", tiny_model(), "--dtype", "int4", "--out", uncalibrated});
  const auto weights = [](const std::string& model) {
    return std::filesystem::path(model) / "model.safetensors";
  };
  CHECK(pllava::SafetensorsFile::open(weights(out)).entries().size() ==
        pllava::SafetensorsFile::open(weights(uncalibrated)).entries().size());
  CHECK(contains(succeed(calibrate(temp / "text")), " % "));
  const Result again = run(calibrate(out));
  CHECK(again.code == 1);
  CHECK(contains(again.err, "exists already"));
  std::vector<std::string> missing = calibrate(temp / "none");
  missing[5] = "no.mp4";
  CHECK(contains(run(missing).err, "no.mp4"));
  CHECK(!std::filesystem::exists(temp / "none"));
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
  CHECK(std::ranges::count(j["prompt_ids"].get<Ids>(), added["<image>"].get<std::int32_t>()) == 1);
}
#endif

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
       {"--prompt",      "--template", "--frames",     "--pool",
        "--sampling",    "--start",    "--end",        "--dtype",
        "--device",      "--threads",  "--lora-alpha", "--max-new-tokens",
        "--temperature", "--top-p",    "--top-k",      "--repetition-penalty",
        "--seed",        "--json",     "--quiet",      "--random-weights"}) {
    INFO(option);
    CHECK(contains(caption, "\n  " + option + ' '));
  }
}

}  // namespace
