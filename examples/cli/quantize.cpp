// quantize: writes a checkpoint with quantized weights.
#include <cstdio>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "clip.hpp"
#include "commands.hpp"
#include "model.hpp"
#include "output.hpp"
#include "pllava/calibration/calibrate.hpp"
#include "pllava/checkpoint/model_parts.hpp"
#include "pllava/checkpoint/quantized_checkpoint.hpp"
#include "pllava/io/detail/output_file.hpp"

namespace cli {
namespace {

/// AWQ scales, calibrated on the videos of --calibrate. Throws FileError if --out exists or cannot
/// be created, before any work.
pllava::Calibration calibration(const Context& context, const pllava::LoadOptions& load) {
  const Options& o = context.options;
  { const pllava::detail::OutputDirectory attempt(o.out); }
  const pllava::ModelFiles files = open_model(o);
  const pllava::Checkpoint& checkpoint = files.checkpoint;
  pllava::CalibrationOptions options;
  options.backend.dtype = checkpoint.report().dtype();
  std::vector<pllava::Clip> clips;
  for (const std::string& video : o.calibrate)
    clips.push_back(sample_clip(context, video, checkpoint.config().frames, files.preprocess));
  return pllava::calibrate(checkpoint[""], checkpoint.config(), files.tokenizer, files.preprocess,
                           clips, load.quantize.language, options, context.control());
}

std::string to_json_line(const Options& o, const pllava::Calibration& calibration) {
  nlohmann::ordered_json json = {{"out", o.out},
                                 {"videos", o.calibrate},
                                 {"unscaled_error", calibration.mean_unscaled_error()},
                                 {"error", calibration.mean_error()},
                                 {"products", nlohmann::json::array()}};
  for (std::size_t layer = 0; layer < calibration.layers.size(); ++layer)
    for (const pllava::Projection p : pllava::kProjections) {
      const pllava::ProjectionScales& scales = calibration.layers[layer][p];
      json["products"].push_back({{"layer", layer},
                                  {"product", pllava::name_of(p)},
                                  {"alpha", scales.alpha},
                                  {"unscaled_error", scales.unscaled_error},
                                  {"error", scales.error}});
    }
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + '\n';
}

std::string describe(const pllava::Calibration& calibration) {
  char text[160];
  std::snprintf(text, sizeof text,
                "mean error of the language model's projections on these videos: %.2f %% without, "
                "%.2f %% with calibration\n",
                100 * calibration.mean_unscaled_error(), 100 * calibration.mean_error());
  return text;
}

}  // namespace

int quantize(const Context& context) {
  const Options& o = context.options;
  const pllava::LoadOptions load = load_options(o);
  if (pllava::is_gguf(o.model))
    throw pllava::ArgumentError(o.model +
                                " is a GGUF file, which is quantized when it is loaded: quantize "
                                "needs a directory");
  if (o.calibrate.empty()) {
    pllava::write_quantized_checkpoint(o.out, o.model, load, context.control());
    context.status.clear();
    return kSuccess;
  }
  const pllava::Calibration scales = calibration(context, load);
  pllava::write_quantized_checkpoint(o.out, o.model, load, scales, context.control());
  context.status.clear();
  write_output(o.json ? to_json_line(o, scales) : describe(scales));
  return kSuccess;
}

}  // namespace cli
