// Rounding a checkpoint once, so that it takes less space and is not rounded at every load.
#pragma once

#include <filesystem>

#include "pllava/checkpoint/checkpoint.hpp"
#include "pllava/core/control.hpp"
#include "pllava/quantization/awq.hpp"

namespace pllava {

/// Writes the checkpoint `from` with the matrices that `options.quantize` names rounded, and LoRA
/// merged at options.lora_alpha, as a new directory `to`, complete or not at all. A rounded matrix
/// (N, K) is a U8 tensor of N rows as store_row writes them; config.json says how it was rounded.
/// What the new directory computes equals to the bit what `from` computes with these options.
/// Throws LoadError (also where `to` exists), ArgumentError (nothing to round, or rounded already),
/// CancelledError; reports stage "quantize".
void write_quantized_checkpoint(const std::filesystem::path& to, const std::filesystem::path& from,
                                const LoadOptions& options, const RunControl& control = {});

/// The same with the scales of `calibrate` folded in before the language model's matrices are
/// rounded to int4 (awq_scaled); the gains of its norms are written in f32. Throws also
/// ArgumentError for another format, and for scales of another model.
void write_quantized_checkpoint(const std::filesystem::path& to, const std::filesystem::path& from,
                                const LoadOptions& options, const Calibration& calibration,
                                const RunControl& control = {});

}  // namespace pllava

#ifndef PLLAVA_COMPILED
#include "pllava/checkpoint/detail/quantized_checkpoint_inl.hpp"
#endif
