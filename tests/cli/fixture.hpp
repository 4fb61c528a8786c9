// Inputs of the program tests: a tiny checkpoint and a clip.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "pllava/config.hpp"

namespace test {

inline constexpr int kClipFrames = 40, kClipFps = 20;

/// Directory for the files of this process, removed at exit.
const std::filesystem::path& workspace();
/// A checkpoint of random weights, written by `pllava write-random`.
const std::string& tiny_model();
/// A video of kClipFrames frames.
const std::string& clip();
std::string tokenizer_file();

/// A copy of tiny_model(), for tests that modify it.
std::filesystem::path copy_of_model(const std::string& name);
/// Replaces the first occurrence of `from` in a file; throws if there is none.
void replace_in(const std::filesystem::path& file, const std::string& from, const std::string& to);
/// A PPM image with one grey level.
std::string ppm(int width, int height, int grey);

/// `arguments` with --model tiny_model(), one thread, and answers of at most 6 tokens.
std::vector<std::string> on_tiny(std::vector<std::string> arguments);

/// Runs the program, expects success and an empty stderr, and returns stdout.
std::string succeed(const std::vector<std::string>& arguments, const std::string& input = {});
/// As succeed, with --json: the objects of stdout.
std::vector<nlohmann::json> succeed_json(std::vector<std::string> arguments,
                                         const std::string& input = {});

/// The frames of clip() that the evaluation rule samples.
std::vector<pllava::Index> eval_indices_of_clip(pllava::Index frames);

bool contains(const std::string& text, const std::string& part);
/// Parses each line as JSON.
std::vector<nlohmann::json> json_lines(const std::string& text);
/// Member names, in order.
std::vector<std::string> keys(const nlohmann::ordered_json& object);

}  // namespace test
