// The model that the options name.
#pragma once

#include <filesystem>

#include "context.hpp"
#include "pllava/checkpoint/checkpoint.hpp"
#include "pllava/pipeline.hpp"
#include "pllava/text/tokenizer.hpp"

namespace cli {

pllava::QuantizeOptions quantize_options(const Options& options);
pllava::LoadOptions load_options(const Options& options);

/// The files of --model: tokenizer.json, else tokenizer.model in builds with SentencePiece. Throws
/// LoadError.
pllava::ModelFiles open_model(const Options& options);

struct LoadedModel {
  pllava::Pipeline pipeline;
  double load_ms = 0;
};

/// Reads a checkpoint, or makes up random weights. Throws what Pipeline::load does, and
/// CancelledError.
LoadedModel load_model(const Context& context);

}  // namespace cli
