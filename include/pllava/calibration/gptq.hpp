// GPTQ (arXiv 2210.17323): quantization of a matrix that lets later input channels compensate the
// rounding errors of earlier ones.
//
// For inputs with second moments H = mean x·xᵀ, the error of the output of a row w, quantized to q,
// is (w - q)·H·(w - q)ᵀ = |(w - q)·R|², with H = R·Rᵀ and R upper triangular. Column c of R
// involves the errors of the channels up to c only. Channel after channel, q[c] is the value next
// to
//
//     w[c] + Σ_{i<c} (w[i] - q[i]) · R[i,c] / R[c,c]
//
// which makes the term of column c as small as the format allows.
#pragma once

#include <vector>

#include "pllava/calibration/input_sample.hpp"
#include "pllava/core/host_tensor.hpp"
#include "pllava/cpu/backend.hpp"

namespace pllava {

/// The factors R[i,c] / R[c,c] of the inputs of a layer, after the rotation of int8 and int4.
/// Memory: 4·K² bytes for K channels.
class ErrorFeedback {
 public:
  /// H has a tenth of its mean diagonal added to the diagonal, which bounds the compensation where
  /// the sample is small. `be` computes in f32. Throws ArgumentError (no rows, values that are not
  /// finite, a backend in another type), OutOfMemoryError.
  ErrorFeedback(cpu::Backend& be, const InputSample& input);

  Index width() const noexcept { return width_; }  ///< K
  /// The factors of the error of channel `i`, for all channels c; defined for c > i.
  const float* factors(Index i) const noexcept { return factors_.data() + i * width_; }
  const std::vector<float>& factors() const noexcept { return factors_; }  ///< (K, K)
  /// Rotated sample rows (n, K), on which output errors are measured.
  const std::vector<float>& rows() const noexcept { return rows_; }

 private:
  Index width_;
  std::vector<float> factors_, rows_;
};

/// A quantized matrix, and its relative output error on the sample rows, |x·(W' - W)ᵀ| / |x·Wᵀ| in
/// the Euclidean norm over rows and outputs.
struct CalibratedMatrix {
  HostTensor matrix;          ///< U8, see store_row
  double rounding_error = 0;  ///< of each weight rounded by itself
  double error = 0;           ///< at most rounding_error
};

/// Quantizes w (N, K) to int8 or int4. If rounding each weight by itself is no worse on the sample
/// rows, its result is returned. Throws ArgumentError for another format, quantized weights and
/// weights that are not finite, ShapeError for another K.
CalibratedMatrix gptq(cpu::Backend& be, const HostTensor& w, const Quantization& format,
                      const ErrorFeedback& feedback);

}  // namespace pllava

#ifndef PLLAVA_COMPILED
#include "pllava/calibration/detail/gptq_inl.hpp"
#endif
