// Calibration: runs the unquantized model over clips and texts, records the inputs of its matrices,
// and quantizes the matrices for these inputs (calibration/gptq.hpp).
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>

#include "pllava/calibration/gptq.hpp"
#include "pllava/calibration/input_sample.hpp"
#include "pllava/core/control.hpp"
#include "pllava/cpu/backend.hpp"
#include "pllava/media/image.hpp"
#include "pllava/media/preprocess.hpp"
#include "pllava/models/model_config.hpp"
#include "pllava/quantization/quantize.hpp"
#include "pllava/text/tokenizer.hpp"
#include "pllava/weights/weight_source.hpp"

namespace pllava {

struct CalibrationOptions {
  cpu::BackendOptions backend = {};  ///< runs the model; f32 by default
  /// The question about each clip. After the attention of the last layer only rows with logits are
  /// computed, so the tokens of the answer calibrate these matrices.
  std::string question = "Describe the video in details.";
  Index max_new_tokens = 32;  ///< per answer
  Index max_rows = 4096;      ///< rows kept of the input of each matrix, an even number
  /// A matrix with fewer rows of input is quantized without calibration.
  Index min_rows = 256;
};

/// The error of a matrix that was quantized with calibration: see CalibratedMatrix.
struct MatrixError {
  std::string name;
  Index rows = 0;  ///< of input
  double rounding_error = 0, error = 0;
};

/// The inputs of the matrices of a model that are quantized to int8 or int4, except lm_head and
/// lookup tables. Memory beside the model, which each add() loads and frees: the rows, for 7B in
/// bf16 at most 7.5 GB. After an error of add() the rows read before it stay.
class Calibration {
 public:
  /// `weights` is the root scope of an unquantized checkpoint, `tensors` the table of the model.
  /// Throws ArgumentError if no matrix is quantized to int8 or int4.
  Calibration(WeightScope weights, TensorTable tensors, const QuantizeOptions& formats,
              const CalibrationOptions& options = {});

  /// Describes the clips. Throws ArgumentError (no clip, quantized weights), and the errors of
  /// Pipeline and Session.
  void add(const ModelConfig& config, std::span<const Clip> clips, const Tokenizer& tokenizer,
           const PreprocessConfig& preprocess, const RunControl& control = {});
  /// Reads the tokens of a text, at most options.max_rows, with the language model. Throws
  /// ArgumentError (fewer than 2 tokens, quantized weights), LoadError.
  void add_text(const TextConfig& config, std::span<const std::int32_t> ids,
                const RunControl& control = {});

  /// The recorded inputs by the names of the matrices; those of one layer share a sample.
  const std::map<std::string, std::shared_ptr<InputSample>>& inputs() const noexcept {
    return inputs_;
  }

  /// The weights, with the recorded matrices quantized. A matrix is quantized when it is read,
  /// which takes a while; `on_matrix` then receives its error. Throws ArgumentError if no matrix
  /// has enough rows of input; reading throws it for activations that are not finite.
  WeightScope quantized_weights(
      const std::function<void(const MatrixError&)>& on_matrix = {}) const;

 private:
  WeightScope weights_;
  TensorTable tensors_;
  QuantizeOptions formats_;
  CalibrationOptions options_;
  std::map<std::string, std::shared_ptr<InputSample>> inputs_;
};

}  // namespace pllava

#ifndef PLLAVA_COMPILED
#include "pllava/calibration/detail/calibrate_inl.hpp"
#endif
