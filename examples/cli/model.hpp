// The model that the options name.
#pragma once

#include "context.hpp"
#include "pllava/checkpoint.hpp"
#include "pllava/pipeline.hpp"

namespace cli {

pllava::QuantizeOptions quantize_options(const Options& options);
pllava::LoadOptions load_options(const Options& options);

struct LoadedModel {
  pllava::Pipeline pipeline;
  double load_ms = 0;
};

/// Reads a checkpoint, or makes up random weights. Throws what Pipeline::load does, and
/// CancelledError.
LoadedModel load_model(const Context& context);

}  // namespace cli
