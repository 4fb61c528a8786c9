// Errors of the program pllava: one line on stderr, and an exit code.
#include <algorithm>
#include <fstream>
#include <string>
#include <vector>

#include <fcntl.h>

#include "cli/child.hpp"
#include "cli/fixture.hpp"
#include "support/catch.hpp"
#include "support/clip_writer.hpp"

namespace {

using namespace test;
namespace fs = std::filesystem;

/// Expects exit code `code`, one line on stderr that contains `part`, and no output.
void check_fails(const std::vector<std::string>& arguments, int code, const std::string& part) {
  std::string command;
  for (const std::string& a : arguments) command += a + ' ';
  INFO(command);
  const Result r = run(arguments);
  CHECK(r.code == code);
  CHECK(r.out == "");
  CHECK(r.err.starts_with("pllava: "));
  CHECK(std::ranges::count(r.err, '\n') == 1);
  INFO(r.err);
  CHECK(r.err.find(part) != std::string::npos);
}

std::string file(const std::string& name, const std::string& bytes) {
  const fs::path path = workspace() / name;
  std::ofstream(path, std::ios::binary) << bytes;
  return path.string();
}

TEST_CASE("an unusable video is named in the error", "[program]") {
  const auto fails = [](const std::string& video) {
    check_fails(on_tiny({"caption", video}), 1, video);
  };
  fails((workspace() / "missing.mp4").string());
  fails(file("empty.mp4", ""));
  fails(file("text.mp4", "not a video"));
  fs::create_directory(workspace() / "no_images");
  fails((workspace() / "no_images").string());
  const fs::path cut = workspace() / "cut.mp4";
  write_clip(cut, {.frames = 10, .index_first = false});
  fs::resize_file(cut, fs::file_size(cut) / 2);
  fails(cut.string());
  fails(file("line\nbreak.mp4", "").substr(0, workspace().string().size()));
  check_fails(on_tiny({"caption", clip(), "--start", "50"}), 1, clip());
}

TEST_CASE("an unusable model is named in the error", "[program]") {
  const auto fails = [](const fs::path& model, const std::string& part) {
    check_fails({"caption", clip(), "--model", model.string()}, 1, part);
  };
  fails(workspace() / "missing", (workspace() / "missing").string() + ": no such directory");

  const fs::path truncated = copy_of_model("truncated");
  fs::resize_file(truncated / "model.safetensors",
                  fs::file_size(truncated / "model.safetensors") - 100);
  fails(truncated, (truncated / "model.safetensors").string());

  const fs::path other = copy_of_model("other_architecture");
  replace_in(other / "config.json", "\"llama\"", "\"mamba\"");
  fails(other, (other / "config.json").string());

  const fs::path garbled = copy_of_model("garbled");
  std::ofstream(garbled / "config.json") << "{";
  fails(garbled, (garbled / "config.json").string());

  const fs::path lacking = copy_of_model("lacking");
  replace_in(lacking / "model.safetensors", "language_model.model.norm.weight",
             "language_model.model.morn.weight");
  fails(lacking, "missing: language_model.model.norm.weight");
  fails(lacking, lacking.string());

  const fs::path imageless = copy_of_model("imageless");
  replace_in(imageless / "tokenizer.json", "\"<image>\"", "\"<video>\"");
  fails(imageless, "tokenizer.json");
}

TEST_CASE("inspect lists missing and unused tensors", "[program]") {
  const fs::path lacking = copy_of_model("renamed");
  replace_in(lacking / "model.safetensors", "language_model.model.norm.weight",
             "language_model.model.morn.weight");
  const Result r = run({"inspect", lacking.string(), "--json"});
  CHECK(r.code == 1);
  CHECK(r.err.find(lacking.string()) != std::string::npos);
  CHECK(std::ranges::count(r.err, '\n') == 1);
  const auto report = nlohmann::json::parse(r.out).at("report");
  CHECK(report["missing"] == nlohmann::json({"language_model.model.norm.weight"}));
  CHECK(report["unused"] == nlohmann::json({"language_model.model.morn.weight"}));
  check_fails({"inspect", (workspace() / "missing").string()}, 1, "missing");
  const fs::path pointer = copy_of_model("pointer");
  file("pointer/tokenizer.json", "version https://git-lfs.github.com/spec/v1\n");
  check_fails({"inspect", pointer.string()}, 1, "tokenizer.json: is a Git LFS pointer");
  const fs::path imageless = copy_of_model("no_image_token");
  replace_in(imageless / "tokenizer.json", "\"<image>\"", "\"<video>\"");
  const Result other = run({"inspect", imageless.string()});
  CHECK(other.code == 1);
  CHECK(contains(other.err, "tokenizer and model disagree about the image token"));
  CHECK(contains(other.out, "memory in f32"));
  check_fails({"inspect", PLLAVA_TEST_DATA "/peft/plain"}, 1, "\"example/base\"");
}

TEST_CASE("invalid prompts and output paths are rejected", "[program]") {
  check_fails(on_tiny({"ask", clip(), "An <image>?", "--parse-special"}), 1, "<image>");
  check_fails(on_tiny({"ask", clip(), "\xff\xfe"}), 1, "UTF-8");
  check_fails(on_tiny({"caption", clip(), "--pool", "16x8x8"}), 1, "only 1024 are available");
  const std::string out = (workspace() / "nowhere" / "trace.safetensors").string();
  check_fails({"trace", clip(), "--model", tiny_model(), "--out", out}, 1, out);
  const std::string tokenizer = file("broken_tokenizer.json", "{}");
  const std::string model = (workspace() / "unwritten").string();
  check_fails({"write-random", "--out", model, "--tokenizer", tokenizer}, 1, tokenizer);
  CHECK(!fs::exists(model));
}

TEST_CASE("an output that cannot be written is reported before the model is read", "[program]") {
  const std::string out = (workspace() / "nowhere" / "trace.safetensors").string();
  check_fails({"trace", clip(), "--model", "no-model", "--out", out}, 1, out);
  const std::string below_a_file = file("plain", "") + "/new";
  const std::string reason = below_a_file + ": cannot be created: ";
  check_fails(
      {"quantize", "no-model", "--dtype", "int4", "--calibrate", clip(), "--out", below_a_file}, 1,
      reason);
  check_fails({"quantize", tiny_model(), "--dtype", "int4", "--out", below_a_file}, 1, reason);
  check_fails({"write-random", "--out", below_a_file, "--tokenizer", tokenizer_file()}, 1, reason);
  check_fails({"write-random", "--out", tiny_model(), "--tokenizer", tokenizer_file()}, 1,
              "exists already");
}

TEST_CASE("wrong usage is reported before loading", "[program]") {
  // The model does not exist: an attempt to load it would exit with 1, not 2.
  const auto fails = [](std::vector<std::string> options, const std::string& part) {
    options.insert(options.begin(), {"caption", "no.mp4", "--model", "no-model"});
    check_fails(options, 2, part);
  };
  for (const std::string pool : {"3", "16x12", "16x12x12x1", "0x1x1", "-1x2x2", "axbxc", "16x12x"})
    fails({"--pool", pool}, "--pool");
  for (const std::string frames : {"0", "-1", "2.5", "many"})
    fails({"--frames", frames}, "--frames");
  fails({"--threads", "-1"}, "--threads");
  fails({"--threads", "100000"}, "--threads");
  for (const std::string alpha : {"-1", "nan", "inf"})
    fails({"--lora-alpha", alpha}, "--lora-alpha");
  for (const std::string p : {"2", "0", "-0.5", "nan"}) fails({"--top-p", p}, "--top-p");
  fails({"--top-k", "-1"}, "--top-k");
  fails({"--temperature", "-1"}, "--temperature");
  fails({"--repetition-penalty", "0"}, "--repetition-penalty");
  fails({"--max-new-tokens", "0"}, "--max-new-tokens");
  fails({"--min-new-tokens", "-1"}, "--min-new-tokens");
  fails({"--stop", ""}, "--stop");
  fails({"--seed", "-1"}, "--seed");
  fails({"--dtype", "f16"}, "--dtype");
  fails({"--dtype", "fp8"}, "--device cuda");
  fails({"--cache", "file", "--device", "cuda"}, "--cache");
  fails({"--vision-weights", "fp8"}, "--device cuda");
  fails({"--dtype", "int2"}, "int4");  // lists the names
  fails({"--lm-weights", "bf16"}, "--lm-weights");
  fails({"--group", "64"}, "--group");
  for (const std::string device : {"tpu", "cuda:", "cuda:x", "cuda:-1", "cuda1"})
    fails({"--device", device}, "--device");
  fails({"--sampling", "all"}, "--sampling");
  fails({"--start", "-1"}, "--start");
  fails({"--start", "2", "--end", "1"}, "--start");
  fails({"--sampling", "demo", "--start", "1"}, "--sampling");
  fails({"--template", "nice"}, "eval_videoqabench");  // lists the names
  fails({"--task", "nice"}, "mvbench");
  fails({"--random-weights", "tiny"}, "--random-weights");  // and --model
  fails({"--no-such-option"}, "--no-such-option");
  check_fails({"caption", "no.mp4", "--random-weights", "8b"}, 2, "34b");
  check_fails({"caption", "no.mp4"}, 2, "--model");
  check_fails({"caption", "--model", "no-model"}, 2, "VIDEO");
  check_fails({"ask", "no.mp4", "--model", "no-model"}, 2, "QUESTION");
  check_fails({"chat", "no.mp4", "two.mp4", "--model", "no-model"}, 2, "two.mp4");
  check_fails({"trace", "no.mp4", "--model", "no-model"}, 2, "--out");
  check_fails({"write-random", "--out", "no-model"}, 2, "--tokenizer");
  check_fails({"quantize", "no-model", "--out", "no-model"}, 2, "--dtype");
  check_fails({"quantize", "no-model", "--dtype", "int8"}, 2, "--out");
  check_fails({"quantize", "no-model", "--dtype", "fp8", "--calibrate", "no.mp4", "--out", "no"}, 2,
              "int4");
  check_fails({"quantize", "no-model", "--dtype", "int4", "--json", "--out", "no"}, 2,
              "--calibrate");
  check_fails({"describe"}, 2, "describe");
  check_fails({}, 2, "command");
}

TEST_CASE("a closed pipe or a full disk on stdout is reported", "[program]") {
  const auto fails = [](const Descriptor& out) {
    Pipe in = Pipe::open(), err = Pipe::open();
    in.write.close();
    Child child(on_tiny({"caption", clip(), clip()}), {in.read.get(), out.get(), err.write.get()});
    err.write.close();
    const std::string message = read_all(err.read.get());
    CHECK(child.wait() == 1);
    CHECK(message.starts_with("pllava: standard output: "));
    CHECK(std::ranges::count(message, '\n') == 1);
  };
  Pipe closed = Pipe::open();
  closed.read.close();
  fails(closed.write);
  const Descriptor full(::open("/dev/full", O_WRONLY | O_CLOEXEC));
  if (full.get() >= 0) fails(full);
}

}  // namespace
