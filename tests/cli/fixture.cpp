#include "cli/fixture.hpp"

#include <fstream>
#include <iterator>
#include <sstream>
#include <stdexcept>

#include "cli/child.hpp"
#include "pllava/media/frame_sampling.hpp"
#include "support/catch.hpp"
#include "support/clip_writer.hpp"
#include "support/temp_directory.hpp"

namespace test {

namespace fs = std::filesystem;

const fs::path& workspace() {
  static const TempDirectory directory;
  return directory.path();
}

std::string tokenizer_file() {
  return (fs::path(PLLAVA_TEST_DATA) / "tokenizer" / "tokenizer.json").string();
}

const std::string& tiny_model() {
  static const std::string model = [] {
    const std::string path = (workspace() / "tiny").string();
    const Result written = run({"write-random", "--out", path, "--tokenizer", tokenizer_file()});
    if (written.code != 0) throw std::runtime_error("write-random: " + written.err);
    return path;
  }();
  return model;
}

const std::string& clip() {
  static const std::string video = [] {
    const fs::path path = workspace() / "clip.mp4";
    write_clip(path, {.frames = kClipFrames, .fps = kClipFps});
    return path.string();
  }();
  return video;
}

fs::path copy_of_model(const std::string& name) {
  const fs::path copy = workspace() / name;
  fs::copy(tiny_model(), copy);
  return copy;
}

void replace_in(const fs::path& file, const std::string& from, const std::string& to) {
  std::ifstream in(file, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(in), {}};
  const std::size_t at = text.find(from);
  if (at == std::string::npos)
    throw std::runtime_error(file.string() + " does not contain " + from);
  std::ofstream(file, std::ios::binary) << text.replace(at, from.size(), to);
}

std::string ppm(int width, int height, int grey) {
  return "P6\n" + std::to_string(width) + " " + std::to_string(height) + "\n255\n" +
         std::string(static_cast<std::size_t>(width * height * 3), static_cast<char>(grey));
}

std::vector<std::string> on_tiny(std::vector<std::string> arguments) {
  for (const std::string& more :
       {std::string("--model"), tiny_model(), std::string("--threads"), std::string("1"),
        std::string("--max-new-tokens"), std::string("6")})
    arguments.push_back(more);
  return arguments;
}

std::string succeed(const std::vector<std::string>& arguments, const std::string& input) {
  const Result r = run(arguments, input);
  INFO(r.err);
  CHECK(r.code == 0);
  CHECK(r.err == "");  // no progress if stderr is not a terminal
  return r.out;
}

std::vector<nlohmann::json> succeed_json(std::vector<std::string> arguments,
                                         const std::string& input) {
  arguments.push_back("--json");
  return json_lines(succeed(arguments, input));
}

std::vector<pllava::Index> eval_indices_of_clip(pllava::Index frames) {
  return pllava::sample_indices(pllava::SamplingRule::eval, kClipFrames, frames, kClipFps);
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

std::vector<nlohmann::json> json_lines(const std::string& text) {
  std::vector<nlohmann::json> objects;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) objects.push_back(nlohmann::json::parse(line));
  return objects;
}

std::vector<std::string> keys(const nlohmann::ordered_json& object) {
  std::vector<std::string> names;
  for (const auto& [key, unused] : object.items()) names.push_back(key);
  return names;
}

}  // namespace test
