// The parsed command line.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "pllava/core/dtype.hpp"
#include "pllava/core/shape.hpp"
#include "pllava/media/frame_sampling.hpp"
#include "pllava/quantization/quantize.hpp"
#include "pllava/runtime/generate.hpp"

namespace cli {

using pllava::Index;

enum class Command : std::uint8_t {
  caption,
  ask,
  chat,
  watch,
  trace,
  inspect,
  bench,
  quantize,
  quality,
  write_random
};

struct Options {
  Command command = Command::caption;

  // model
  std::string model;           ///< checkpoint directory or GGUF file
  std::string mmproj;          ///< GGUF file of the vision tower, if `model` is a GGUF file
  std::string random_weights;  ///< preset, instead of `model`
  std::string cache;           ///< file of packed weights
  std::string base;            ///< llava-hf base model, if `model` holds only an adapter
  std::optional<double> lora_alpha;
  bool lenient = false;
  std::optional<pllava::DType> dtype;
  pllava::WeightFormat weights = pllava::WeightFormat::unquantized;
  std::optional<pllava::WeightFormat> vision_weights, lm_weights;  ///< default: `weights`
  Index group = 32;
  bool zero_points = false;
  bool int8_kv = false;
  bool deterministic = false;
  std::optional<int> gpu;  ///< index of the GPU; nullopt: the CPU
  Index threads = 0;
  std::optional<Index> frames;
  std::optional<pllava::Grid> pool;

  // clip
  std::vector<std::string> videos;
  pllava::SamplingRule sampling = pllava::SamplingRule::eval;
  std::optional<double> start, end;                  ///< seconds
  std::optional<double> seconds;                     ///< of a live source
  int stream = -1;                                   ///< video stream, -1: default
  std::map<std::string, std::string> input_options;  ///< of FFmpeg
  bool raw_orientation = false;
  bool square_pixels = false;
  bool follow_other_hosts = false;
  bool decord_numbering = false;
  double keep_tokens = 1;  ///< see pllava::WatchOptions

  // prompt and answer
  bool forget_oldest = false;  ///< questions of a chat that do not fit the context
  std::vector<std::string> questions;
  std::string prompt;  ///< empty: the task's question, else kDefaultPrompt
  std::string conversation_template;
  std::string task;
  pllava::GenerateOptions generate;

  // watch
  double every = 2;        ///< seconds between questions
  double fps = 4;          ///< frames per second that enter the window
  bool follow = false;     ///< the source is being written
  bool reconnect = false;  ///< see pllava::Reconnect
  Index window = 0;        ///< frames; 0: the model's
  double still_below = 0;  ///< see pllava::WindowOptions
  bool rolling = false;    ///< see pllava::SlideOptions
  Index refresh_every = 64;
  Index events = 0;    ///< ends after this many questions; 0: at the end of the source
  std::string record;  ///< directory to write; empty: none

  // output
  bool json = false;
  bool quiet = false;
  std::string out;

  // bench
  Index runs = 5;
  Index text_rows = 96;
  std::string until;  ///< last part of bench; empty: all

  // quantize
  std::vector<std::string> calibrate;  ///< videos and texts

  // quality
  std::string text;     ///< file of the text whose tokens are predicted
  Index tokens = 400;   ///< of the text, at most
  std::string against;  ///< model to compare with; empty: `model` in another type
  std::string against_mmproj;
  std::optional<pllava::DType> against_dtype = pllava::DType::f32;
  pllava::WeightFormat against_weights = pllava::WeightFormat::unquantized;

  // write-random
  std::string preset = "tiny";
  std::string tokenizer;
};

/// The question of `caption` and `trace`, worded as in the reference.
inline constexpr const char* kDefaultPrompt = "Describe the video in details.";

}  // namespace cli
