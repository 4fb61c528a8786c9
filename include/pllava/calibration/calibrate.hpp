// Activation-aware weight quantization (AWQ, arXiv 2306.00978): scales that reduce the error of
// int4 weights.
//
// A few input channels of a linear layer carry much larger activations than the others, so
// quantization errors in their weights contribute most to the error of the output. AWQ multiplies
// the weights of such a channel by s > 1 before quantization and divides its activations by s:
//
//     W·x = (W·diag(s)) · (x/s)      s[k] = mean|x[k]|^alpha
//
// The quantization error of the channel is then divided by s as well. For each projection, alpha is
// the value with the smallest output error on rows recorded from calibration clips. The division is
// folded into the weights that produce x (the gains of the norm, the rows of v_proj and up_proj),
// so the model needs no extra operation. Group scales minimize the squared error of the weights,
// weighted by mean x[k]²; this replaces the clipping search of the paper.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "pllava/calibration/input_sample.hpp"
#include "pllava/core/control.hpp"
#include "pllava/cpu/backend.hpp"
#include "pllava/media/image.hpp"
#include "pllava/media/preprocess.hpp"
#include "pllava/models/model_config.hpp"
#include "pllava/quantization/awq.hpp"
#include "pllava/text/tokenizer.hpp"
#include "pllava/weights/weight_source.hpp"

namespace pllava {

struct CalibrationOptions {
  cpu::BackendOptions backend = {};  ///< runs the model; f32 by default
  /// The question about each clip. After the attention of the last layer only rows with logits are
  /// computed, so the tokens of the answer calibrate these matrices.
  std::string question = "Describe the video in details.";
  Index max_new_tokens = 32;  ///< per answer
};

/// Runs the unquantized model over the clips and records the inputs of each projection of the
/// language model, for each layer. `weights` is the root scope of an unquantized checkpoint;
/// formats set by `quantized` are ignored. Memory: the model, and 512 bytes per input channel of
/// each projection of each layer (380 MB for 7B). Throws ArgumentError (no clip, quantized
/// weights), and the errors of Pipeline and Session.
std::vector<PerProjection<InputSample>> record_inputs(
    const WeightScope& weights, const ModelConfig& config, const Tokenizer& tokenizer,
    const PreprocessConfig& preprocess, std::span<const Clip> clips,
    const CalibrationOptions& options = {}, const RunControl& control = {});

/// Relative output error of quantizing `matrices`, (N, K) each, with input channels multiplied by
/// `scales` (K) and group scales chosen by `importance` (K; empty: all channels equally), on the
/// rows of `input`: |x·(W' - W)ᵀ| / |x·Wᵀ| in the Euclidean norm over rows and outputs. For several
/// matrices, the root mean square of their relative errors, because their outputs differ in
/// magnitude. A matrix with more than 512 outputs is represented by 512, evenly spaced: with 128
/// rows that averages 65,536 values, and it bounds the time of best_scales, which computes 22
/// errors per projection. `be` computes in f32. Throws ArgumentError (no rows, another type, values
/// that are not finite), ShapeError.
double output_error(cpu::Backend& be, std::span<const HostTensor> matrices,
                    const InputSample& input, const Quantization& format,
                    std::span<const float> scales, std::span<const float> importance = {});

/// The scales mean|x|^alpha with the smallest output_error, for alpha from 0 to 1 in 20 steps and
/// importance mean x²; scales of 1 without importance if none of these is better.
/// Scales are normalized: the largest times the smallest is 1. Means below 1e-4 of the largest
/// count as 1e-4 of it. With `heads` (for o_proj, whose input is scaled through v_proj), query
/// heads that share a kv head share scales. Throws as output_error does.
ProjectionScales best_scales(cpu::Backend& be, std::span<const HostTensor> matrices,
                             const InputSample& input, const Quantization& format,
                             const Heads& heads = {});

/// Scales for the whole language model: record_inputs, then best_scales for each projection. For
/// int4 only: int8 is within a percent of the unquantized weights without scales. Reports the
/// stages of a run, then stage "calibrate". Throws as record_inputs does, ArgumentError for another
/// format, CancelledError.
Calibration calibrate(const WeightScope& weights, const ModelConfig& config,
                      const Tokenizer& tokenizer, const PreprocessConfig& preprocess,
                      std::span<const Clip> clips, const Quantization& format,
                      const CalibrationOptions& options = {}, const RunControl& control = {});

}  // namespace pllava

#ifndef PLLAVA_COMPILED
#include "pllava/calibration/detail/calibrate_inl.hpp"
#endif
