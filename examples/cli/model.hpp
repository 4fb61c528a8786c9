// Loads the model of --model or --random-weights.
#pragma once

#include <filesystem>

#include "context.hpp"
#include "pllava/checkpoint/checkpoint.hpp"
#include "pllava/pipeline.hpp"
#include "pllava/text/tokenizer.hpp"

namespace cli {

pllava::QuantizeOptions quantize_options(const Options& options);
pllava::LoadOptions load_options(const Options& options);

/// Whether --model or --base has a tokenizer that open_model can read.
bool has_tokenizer(const Options& options);
/// The tokenizer of a GGUF file, tokenizer.json, else tokenizer.model in builds with SentencePiece.
/// Throws LoadError.
pllava::Tokenizer open_tokenizer(const Options& options);
/// Opens the files of --model. Throws LoadError.
pllava::ModelFiles open_model(const Options& options);

struct LoadedModel {
  pllava::Pipeline pipeline;
  double load_ms = 0;
};

/// Loads a checkpoint or generates random weights. Throws the errors of Pipeline::load, and
/// CancelledError.
LoadedModel load_model(const Context& context);

}  // namespace cli
