// What the tests of the program run it on: a tiny checkpoint and a clip.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace test {

inline constexpr int kClipFrames = 40, kClipFps = 20;

/// Directory for the files of this process, removed at its end.
const std::filesystem::path& workspace();
/// A checkpoint of random weights, written by `pllava write-random`.
const std::string& tiny_model();
/// A video of kClipFrames frames.
const std::string& clip();
std::string tokenizer_file();

/// A copy of tiny_model() to break something in.
std::filesystem::path copy_of_model(const std::string& name);
/// Replaces the first `from` in a file; throws if there is none.
void replace_in(const std::filesystem::path& file, const std::string& from, const std::string& to);
/// A PPM picture of one grey.
std::string ppm(int width, int height, int grey);

/// `arguments`, then --model tiny_model(), and answers of a few tokens.
std::vector<std::string> on_tiny(std::vector<std::string> arguments);

/// Each line of text as JSON.
std::vector<nlohmann::json> json_lines(const std::string& text);
/// Names of the members, in order.
std::vector<std::string> keys(const nlohmann::ordered_json& object);

}  // namespace test
