// caption, ask and chat: answers, their JSON, and the options that change them.
#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "cli/child.hpp"
#include "cli/fixture.hpp"
#include "pllava/media/frame_sampling.hpp"
#include "pllava/text/prompt.hpp"
#include "pllava/text/tokenizer.hpp"
#include "pllava/weights/random_weights.hpp"
#include "pllava/weights/safetensors.hpp"
#include "support/catch.hpp"
#include "support/clip_writer.hpp"

namespace {

using namespace test;
using nlohmann::json;
using pllava::Index;
using Indices = std::vector<Index>;
using Ids = std::vector<std::int32_t>;

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
  CHECK(keys(j) == std::vector<std::string>{
                       "video", "prompt", "text", "frame_indices", "frame_times", "total_frames",
                       "warnings", "prompt_ids", "output_ids", "finish_reason", "timings_ms",
                       "prefill_tokens_per_s", "decode_tokens_per_s", "peak_memory_bytes"});
  CHECK(keys(j["timings_ms"]) == std::vector<std::string>{"load", "decode", "preprocess", "vision",
                                                          "project", "prefill", "generate"});
  CHECK(j["video"] == clip());
  CHECK(j["total_frames"] == kClipFrames);
  CHECK(j["warnings"].empty());
  CHECK(contains(j["prompt"], "Who?"));
  const Indices indices = j["frame_indices"];
  CHECK(indices == eval_indices_of_clip(16));
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

TEST_CASE("a special token in a question is text unless asked for", "[program]") {
  const auto ids = [](std::vector<std::string> options) {
    options.insert(options.begin(), {"ask", clip(), "Is </s> here?"});
    return succeed_json(on_tiny(std::move(options)))[0]["prompt_ids"];
  };
  const auto end = pllava::Tokenizer::from_file(tokenizer_file()).id_of("</s>");
  REQUIRE(end);
  CHECK(std::ranges::count(ids({}), json(*end)) == 0);
  CHECK(std::ranges::count(ids({"--parse-special"}), json(*end)) == 1);
}

TEST_CASE("chat reports an invalid question and continues", "[program]") {
  const Result r =
      run(on_tiny({"chat", clip(), "--json", "--parse-special"}), "An <image>?\nWhat happens?\n");
  CHECK(r.code == 1);
  CHECK(contains(r.err, "<image>"));
  CHECK(std::ranges::count(r.err, '\n') == 1);
  const auto answers = json_lines(r.out);
  REQUIRE(answers.size() == 1);
  CHECK(answers[0]["output_ids"] ==
        succeed_json(on_tiny({"ask", clip(), "What happens?"}))[0]["output_ids"]);
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
  CHECK(indices({"--frames", "5"}) == eval_indices_of_clip(5));
  CHECK(indices({"--sampling", "demo", "--frames", "7"}) == pllava::demo_indices(kClipFrames, 7));
  CHECK(indices({"--start", "0.5", "--end", "1", "--frames", "4"}) ==
        pllava::sample_indices(pllava::SamplingRule::eval, kClipFrames, 4, kClipFps,
                               pllava::TimeRange{0.5, 1}));
  const Indices late = indices({"--start", "1.5", "--frames", "4"});
  CHECK(std::ranges::min(late) >= 30);
  const Indices early = indices({"--end", "0.5", "--frames", "4"});
  CHECK(std::ranges::max(early) <= 10);
}

TEST_CASE("What a lenient load leaves out is said", "[program]") {
  const std::filesystem::path model = copy_of_model("lenient");
  json config = json::parse(std::ifstream(model / "generation_config.json"));
  config["eos_token_id"] = 9;
  std::ofstream(model / "generation_config.json") << config;
  const pllava::HostTensor stray = pllava::RandomWeights(1).tensor({"adapter.lora_A", {2, 2}});
  std::filesystem::rename(model / "model.safetensors", model / "model-00001-of-00002.safetensors");
  const std::vector<pllava::NamedTensor> more = {{"adapter.lora_A", stray}};
  pllava::write_safetensors(model / "model-00002-of-00002.safetensors", more);
  const std::vector<std::string> arguments = {
      "caption", clip(), "--model", model.string(), "--json", "--max-new-tokens", "1"};
  CHECK(run(arguments).code == 1);
  std::vector<std::string> lenient = arguments;
  lenient.push_back("--lenient");
  const Result result = run(lenient);
  REQUIRE(result.code == 0);
  const std::string unused = "1 tensor is unused: adapter.lora_A";
  CHECK(result.err.starts_with("pllava: warning: " + model.string() + ": " + unused));
  const json warnings = json::parse(result.out)["warnings"];
  REQUIRE(warnings.size() == 3);
  CHECK(warnings[0] == unused);
  CHECK(contains(warnings[1], "eos_token_id 9 is "));
  CHECK(contains(warnings[2], "</s>"));
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

}  // namespace
