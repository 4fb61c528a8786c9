// The output error of a quantized projection on sampled inputs and outputs.
#pragma once

#include <algorithm>
#include <cmath>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "pllava/calibration/input_sample.hpp"
#include "pllava/core/ops.hpp"
#include "pllava/cpu/backend.hpp"
#include "pllava/quantization/detail/awq_tensors.hpp"
#include "pllava/weights/detail/host_floats.hpp"

namespace pllava::detail {

/// Up to kMaxOutputs rows of each matrix of a projection, and the sampled rows of its input.
class SampledProjection {
 public:
  SampledProjection(cpu::Backend& be, std::span<const HostTensor> matrices,
                    const InputSample& input)
      : be_(be), K_(input.width()) {
    if (input.kept() == 0) throw ArgumentError("calibration: a projection has no recorded inputs");
    if (be.activation_dtype() != DType::f32)
      throw ArgumentError("calibration: output errors need a backend that computes in f32");
    for (const float v : input.rows())
      if (!std::isfinite(v)) throw ArgumentError("calibration: an activation is not finite");
    x_ = Tensor<cpu::Backend>(be, {input.kept(), K_}, DType::f32);
    be.upload(x_, input.rows().data());
    for (const HostTensor& t : matrices) matrices_.push_back(sampled(t));
  }

  /// See output_error.
  double error(const Quantization& format, std::span<const float> scales,
               std::span<const float> importance) const {
    if (static_cast<Index>(scales.size()) != K_ ||
        (!importance.empty() && importance.size() != scales.size()))
      throw ShapeError("calibration", "expected " + std::to_string(K_) + " scales, got " +
                                          std::to_string(scales.size()));
    const std::vector<float> costs = scaled_importance(importance, scales);
    double total = 0;
    for (const Matrix& m : matrices_) {
      std::vector<float> difference(m.rows.size());
      be_.pool().run(m.count, [&](Index n) {
        const float* w = m.rows.data() + n * K_;
        std::vector<float> scaled(scales.begin(), scales.end());
        for (std::size_t k = 0; k < scaled.size(); ++k) scaled[k] *= w[k];
        const QuantizedRow row = quantize(scaled, format, costs);
        for (std::size_t k = 0; k < scaled.size(); ++k)
          difference[static_cast<std::size_t>(n * K_) + k] =
              row.dequantized(format, k) / scales[k] - w[k];
      });
      const double e = squared_output_norm(difference, m.count);
      total += e == 0 ? 0 : e / m.squared_norm;
    }
    return std::sqrt(total / static_cast<double>(matrices_.size()));
  }

 private:
  static constexpr Index kMaxOutputs = 512;

  struct Matrix {
    std::vector<float> rows;  // (count, K)
    Index count;
    double squared_norm;  // of its outputs
  };

  /// Up to kMaxOutputs evenly spaced rows of `t`.
  Matrix sampled(const HostTensor& t) const {
    if (t.shape.rank() != 2 || t.shape[1] != K_)
      throw ShapeError("calibration",
                       "expected (N, " + std::to_string(K_) + "), got " + t.shape.str());
    if (!is_floating(t.dtype)) throw ArgumentError(t.name + ": the weights are quantized already");
    const Index count = std::min(t.shape[0], kMaxOutputs);
    Matrix m{std::vector<float>(static_cast<std::size_t>(count * K_)), count, 0};
    for (Index n = 0; n < count; ++n)
      copy_as_floats(m.rows.data() + n * K_, t, n * t.shape[0] / count * K_, K_);
    m.squared_norm = squared_output_norm(m.rows, count);
    return m;
  }

  /// |x·Wᵀ|² for W (count, K).
  double squared_output_norm(const std::vector<float>& rows, Index count) const {
    const HostTensor host{
        DType::f32, {count, K_}, reinterpret_cast<const std::byte*>(rows.data()), nullptr};
    const cpu::Backend::Linear w{be_.prepare({&host, 1}, WeightRole::linear), {}, count, K_};
    auto scope = be_.scope();
    const View y = be_.scratch({x_.view().rows(), count}, DType::f32);
    ops::linear(be_, y, x_.view(), w);
    double sum = 0;
    for (Index i = 0; i < y.shape.count(); ++i) sum += double{y.as<float>()[i]} * y.as<float>()[i];
    return sum;
  }

  cpu::Backend& be_;
  Index K_;
  Tensor<cpu::Backend> x_;  // (rows, K)
  std::vector<Matrix> matrices_;
};

}  // namespace pllava::detail
