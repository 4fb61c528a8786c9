// Loads the model of --model or --random-weights.
#pragma once

#include <filesystem>
#include <span>
#include <string>

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

/// The model families and the decoders alone.
std::span<const pllava::ArchitectureInfo> all_architectures();
bool has_vision(const pllava::Checkpoint& checkpoint);
/// The constants of preprocessing, or the default ones for the image size of the vision tower.
pllava::PreprocessConfig preprocess_of(const Options& options, const pllava::LoadOptions& load,
                                       const pllava::Checkpoint& checkpoint);
/// The content of a text file of at most 16 MiB. Throws LoadError.
std::string read_text(const std::string& path);

struct LoadedModel {
  pllava::Pipeline pipeline;
  double load_ms = 0;
};

/// Loads a checkpoint or generates random weights. Throws the errors of Pipeline::load, and
/// CancelledError.
LoadedModel load_model(const Context& context);

}  // namespace cli
