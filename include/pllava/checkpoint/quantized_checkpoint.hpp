// Writes a quantized copy of a checkpoint: smaller, and not quantized again at every load.
#pragma once

#include <filesystem>

#include "pllava/checkpoint/checkpoint.hpp"
#include "pllava/core/control.hpp"
#include "pllava/weights/weight_source.hpp"

namespace pllava {

/// Writes the checkpoint `from` to a new directory `to`, complete or not at all: matrices quantized
/// to the formats of `options.quantize`, LoRA merged with options.lora_alpha. A quantized matrix
/// (N, K) is a U8 tensor of N rows in the layout of store_row; config.json records the formats.
/// Results of the new directory equal those of `from` with these options, bit for bit.
/// Throws LoadError, FileError (also if `to` exists), ArgumentError (no format given, or weights
/// that are already quantized), CancelledError. Reports stage "quantize".
void write_quantized_checkpoint(const std::filesystem::path& to, const std::filesystem::path& from,
                                const LoadOptions& options, const RunControl& control = {});

/// The same for `weights`, the tensors of `from` of which some may be quantized already, to the
/// formats of `options.quantize`: see Calibration::quantized_weights. Also throws LoadError for a
/// tensor in another format.
void write_quantized_checkpoint(const std::filesystem::path& to, const std::filesystem::path& from,
                                const LoadOptions& options, const WeightScope& weights,
                                const RunControl& control = {});

}  // namespace pllava

#ifndef PLLAVA_COMPILED
#include "pllava/checkpoint/detail/quantized_checkpoint_inl.hpp"
#endif
