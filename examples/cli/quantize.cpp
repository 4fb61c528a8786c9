// quantize: writes a checkpoint with quantized weights.
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "clip.hpp"
#include "commands.hpp"
#include "model.hpp"
#include "output.hpp"
#include "pllava/calibration/calibrate.hpp"
#include "pllava/checkpoint/quantized_checkpoint.hpp"
#include "pllava/io/detail/output_file.hpp"
#include "pllava/weights/gguf.hpp"

namespace cli {
namespace {

bool is_text(const std::string& file) {
  std::string extension = std::filesystem::path(file).extension().string();
  for (char& c : extension)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return extension == ".txt" || extension == ".md";
}

/// Throws ArgumentError that names the file for text that is not UTF-8.
std::vector<std::int32_t> read_ids(const pllava::Tokenizer& tokenizer, const std::string& file) {
  const std::string text = read_text(file);
  try {
    return tokenizer.encode(text, {.parse_special = false});
  } catch (const pllava::PromptError& error) {
    throw pllava::ArgumentError(file + ": " + error.what());
  }
}

/// The inputs of the model's matrices, recorded on the files of --calibrate. Throws FileError if
/// --out exists or cannot be created, before any work.
pllava::Calibration calibration(const Context& context, const pllava::LoadOptions& load) {
  const Options& o = context.options;
  { const pllava::detail::OutputDirectory attempt(o.out); }
  const auto checkpoint = pllava::Checkpoint::open(o.model, load);
  const pllava::Tokenizer tokenizer = open_tokenizer(o);
  const pllava::ModelConfig& config = checkpoint.config();
  pllava::CalibrationOptions options;
  options.backend.dtype = checkpoint.report().dtype();

  std::vector<pllava::Clip> clips;
  std::vector<std::int32_t> ids;
  bool has_text = false;
  for (const std::string& file : o.calibrate) {
    if (is_text(file)) {
      has_text = true;
      const std::vector<std::int32_t> more = read_ids(tokenizer, file);
      ids.insert(ids.end(), more.begin(), more.end());
      continue;
    }
    if (!has_vision(checkpoint))
      throw pllava::ArgumentError("--calibrate: " + o.model +
                                  " has no vision tower; expected a text (.txt, .md), got " + file);
    clips.push_back(sample_clip(context, file, config.frames, preprocess_of(o, load, checkpoint)));
  }
  pllava::Calibration calibration(checkpoint[""], checkpoint.tensors(), load.quantize, options);
  if (!clips.empty())
    calibration.add(config, clips, tokenizer, preprocess_of(o, load, checkpoint),
                    context.control());
  if (has_text) calibration.add_text(config.text, ids, context.control());
  return calibration;
}

struct MeanErrors {
  double rounding = 0, calibrated = 0;
};

MeanErrors mean(const std::vector<pllava::MatrixError>& errors) {
  MeanErrors sum;
  for (const pllava::MatrixError& e : errors) {
    sum.rounding += e.rounding_error;
    sum.calibrated += e.error;
  }
  const auto count = static_cast<double>(errors.empty() ? 1 : errors.size());
  return {sum.rounding / count, sum.calibrated / count};
}

std::string to_json_line(const Options& o, const std::vector<pllava::MatrixError>& errors) {
  nlohmann::ordered_json json = {{"out", o.out},
                                 {"calibrated_on", o.calibrate},
                                 {"rounding_error", mean(errors).rounding},
                                 {"error", mean(errors).calibrated},
                                 {"matrices", nlohmann::json::array()}};
  for (const pllava::MatrixError& e : errors)
    json["matrices"].push_back({{"name", e.name},
                                {"input_rows", e.rows},
                                {"rounding_error", e.rounding_error},
                                {"error", e.error}});
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + '\n';
}

std::string describe(const std::vector<pllava::MatrixError>& errors) {
  char text[160];
  std::snprintf(text, sizeof text,
                "%zu matrices calibrated; mean error of their outputs: %.2f %%, without "
                "calibration %.2f %%\n",
                errors.size(), 100 * mean(errors).calibrated, 100 * mean(errors).rounding);
  return text;
}

}  // namespace

int quantize(const Context& context) {
  const Options& o = context.options;
  pllava::LoadOptions load = load_options(o);
  load.architectures = all_architectures();
  if (pllava::is_gguf(o.model))
    throw pllava::ArgumentError(o.model +
                                " is a GGUF file, which is quantized when it is loaded: quantize "
                                "needs a directory");
  if (o.calibrate.empty()) {
    pllava::write_quantized_checkpoint(o.out, o.model, load, context.control());
    context.status.clear();
    return kSuccess;
  }
  const pllava::Calibration inputs = calibration(context, load);
  std::vector<pllava::MatrixError> errors;
  const auto weights =
      inputs.quantized_weights([&](const pllava::MatrixError& e) { errors.push_back(e); });
  pllava::write_quantized_checkpoint(o.out, o.model, load, weights, context.control());
  context.status.clear();
  write_output(o.json ? to_json_line(o, errors) : describe(errors));
  return kSuccess;
}

}  // namespace cli
