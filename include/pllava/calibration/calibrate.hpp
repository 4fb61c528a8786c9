// Activation-aware weight scaling (AWQ, arXiv 2306.00978): int4 weights that keep what matters.
//
// A few input channels of a matrix product carry far larger activations than the others, and an
// error in their weights costs accordingly. Such a channel's weights are multiplied by s > 1 before
// rounding, and its activations divided by s:
//
//     W·x = (W·diag(s)) · (x/s)      s[k] = mean|x[k]|^alpha
//
// so that its share of the rounding error shrinks. alpha is searched for each product by the error
// of its output on rows of a calibration clip. The division is folded into what makes x (the gains
// of the norm, rows of v_proj and up_proj), so nothing else changes. And the multiplier of a group
// is chosen by the squared errors of its weights times mean x[k]², in the place of the paper's
// search for where to clip.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "pllava/core/control.hpp"
#include "pllava/cpu/backend.hpp"
#include "pllava/media/image.hpp"
#include "pllava/media/preprocess.hpp"
#include "pllava/models/model_config.hpp"
#include "pllava/quantization/awq.hpp"
#include "pllava/text/tokenizer.hpp"
#include "pllava/weights/weight_source.hpp"

namespace pllava {

/// What entered a product: the mean of |x| over all rows, and at most `kMaxRows` of the rows,
/// evenly spaced. Takes 4·K·kMaxRows bytes for K channels, however many rows come.
class InputSample {
 public:
  static constexpr Index kMaxRows = 128;

  /// Adds x (N, K), f32 or bf16, in host memory. Throws ShapeError for another K than before.
  void add(ConstView x);

  Index seen() const noexcept { return seen_; }    ///< rows added
  Index width() const noexcept { return width_; }  ///< K
  /// Rows kept, (n, K): each `stride`th of those seen, from the first.
  const std::vector<float>& rows() const noexcept { return rows_; }
  Index kept() const noexcept {
    return width_ == 0 ? 0 : static_cast<Index>(rows_.size()) / width_;
  }
  Index stride() const noexcept { return stride_; }
  std::vector<float> mean() const { return mean_of(sum_); }             ///< mean|x| (K)
  std::vector<float> mean_square() const { return mean_of(squares_); }  ///< mean x² (K)

 private:
  std::vector<float> mean_of(const std::vector<double>& sums) const;

  Index width_ = 0, seen_ = 0, stride_ = 1;
  std::vector<double> sum_, squares_;
  std::vector<float> rows_;
};

struct CalibrationOptions {
  /// Where the model runs; its type is f32 unless said.
  cpu::BackendOptions backend = {};
  /// Put to each clip. The last layer's matrices behind attention see only rows whose logits are
  /// wanted, so it is the tokens of the answers that calibrate them.
  std::string question = "Describe the video in details.";
  Index new_tokens = 32;
};

/// Runs the model in plain precision over the clips, and keeps what enters the products of each
/// layer of the language model. `weights` is the root scope of a checkpoint that is not rounded;
/// marks of `quantized` are disregarded. Memory: the model, and for each layer 512 bytes a channel
/// of its products (380 MB for 7B).
/// Throws ArgumentError (no clip, weights rounded already), and what Pipeline and Session throw.
std::vector<PerProjection<InputSample>> record_inputs(
    const WeightScope& weights, const ModelConfig& config, const Tokenizer& tokenizer,
    const PreprocessConfig& pixels, std::span<const Clip> clips,
    const CalibrationOptions& options = {}, const RunControl& control = {});

/// The relative error of what `matrices`, (N, K) each, make of the rows of `input` when rounded
/// with input channels scaled, and multipliers chosen by `importance` where it is not empty (both
/// (K)): |x·(W' - W)ᵀ| / |x·Wᵀ| in the Euclidean norm over rows and outputs, the root mean square
/// over matrices, as their outputs differ in size. Of a matrix with more than 512 outputs 512 are
/// taken, evenly spaced: with 128 rows that is 65,536 values to average, and bounds the work of a
/// search, which asks for 22 errors of each product. `be` computes in f32. Throws
/// ArgumentError (no rows, another type, values that are not finite), ShapeError.
double output_error(cpu::Backend& be, std::span<const HostTensor> matrices,
                    const InputSample& input, const Quantization& format,
                    std::span<const float> scales, std::span<const float> importance = {});

/// The scales mean|x|^alpha with the smallest output_error, for alpha from 0 to 1 in 20 steps and
/// importance mean x²; plain rounding where nothing is better.
/// They are normalised so that the largest times the smallest is 1; means below a ten-thousandth of
/// the largest count as that. Query heads that read one kv head share scales, where `heads` says
/// so: for o_proj, whose input follows v_proj. Throws as output_error does.
ProjectionScales best_scales(cpu::Backend& be, std::span<const HostTensor> matrices,
                             const InputSample& input, const Quantization& format,
                             const Heads& heads = {});

/// Scales for the whole language model: record_inputs, then best_scales for each product. Only int4
/// is worth it: int8 rounds to within a percent as it is. Reports the stages of a run, then stage
/// "calibrate". Throws as record_inputs does, ArgumentError for another format, CancelledError.
Calibration calibrate(const WeightScope& weights, const ModelConfig& config,
                      const Tokenizer& tokenizer, const PreprocessConfig& pixels,
                      std::span<const Clip> clips, const Quantization& format,
                      const CalibrationOptions& options = {}, const RunControl& control = {});

}  // namespace pllava

#ifndef PLLAVA_COMPILED
#include "pllava/calibration/detail/calibrate_inl.hpp"
#endif
