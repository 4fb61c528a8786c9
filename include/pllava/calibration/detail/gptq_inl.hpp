// Bodies of calibration/gptq.hpp.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "pllava/calibration/detail/cholesky.hpp"
#include "pllava/calibration/detail/host_product.hpp"
#include "pllava/calibration/gptq.hpp"
#include "pllava/core/rotation.hpp"
#include "pllava/weights/detail/host_floats.hpp"

namespace pllava {
namespace detail {

/// Input channels between two products with the factors; whole groups.
inline constexpr Index kGptqBlock = 256;

/// Rows on which output errors are measured, at most.
inline constexpr Index kErrorRows = 128;

/// Quantizes a row channel by channel. `w` is the rotated row.
class GptqRow {
 public:
  GptqRow(std::span<const float> w, const Quantization& format) : format_(format) {
    row_ = quantize_rotated(w, format);
    if (format.format != WeightFormat::int4) return;
    // The compensated weights of a group may need a larger scale than its own weights.
    constexpr float kHeadroom = 1.1f;
    row_.channel_scale *= kHeadroom;
  }

  const QuantizedRow& row() const noexcept { return row_; }

  /// Quantizes the channels [begin, begin + n). `targets` (n) are their weights plus the
  /// compensation of the errors of earlier channels; those of this block are added. `errors` (n)
  /// are written: w - q.
  void quantize_block(std::span<const float> w, Index begin, std::span<float> targets,
                      const ErrorFeedback& feedback, float* errors) {
    const Index n = static_cast<Index>(targets.size());
    const Index group = format_.format == WeightFormat::int4 ? format_.group : n;
    for (Index g = 0; g < n; g += group) {
      const Index end = std::min(n, g + group);
      fit_group(targets.subspan(static_cast<std::size_t>(g), static_cast<std::size_t>(end - g)),
                begin + g);
      for (Index i = g; i < end; ++i) {
        const float q = quantize_value(targets[static_cast<std::size_t>(i)], begin + i);
        const float error = w[static_cast<std::size_t>(begin + i)] - q;
        errors[i] = error;
        const float* factors = feedback.factors(begin + i) + begin;
        for (Index c = i + 1; c < n; ++c)
          targets[static_cast<std::size_t>(c)] += error * factors[c];
      }
    }
  }

 private:
  /// Chooses the scale and zero point of the int4 group from channel `k` on.
  void fit_group(std::span<const float> targets, Index k) {
    if (format_.format != WeightFormat::int4 || row_.channel_scale == 0) return;
    const auto g = static_cast<std::size_t>(k / format_.group);
    row_.zero_points[g] = kSymmetricZeroPoint;
    row_.group_scales[g] = 1;
    const float step = int4_step(targets, format_.zero_points, row_.zero_points[g]);
    if (step == 0) return;
    std::vector<std::uint8_t> candidate(targets.size());
    row_.group_scales[g] =
        quantize_int4_group({targets, step, row_.channel_scale, row_.zero_points[g],
                             &row_.values[static_cast<std::size_t>(k)]},
                            candidate);
  }

  /// Stores the value next to `target`, and returns the weight that it encodes.
  float quantize_value(float target, Index channel) {
    const auto k = static_cast<std::size_t>(channel);
    if (format_.format == WeightFormat::int8) {
      const float inverse = row_.channel_scale > 0 ? 1 / row_.channel_scale : 0;
      const float n = std::clamp(round_to_even(target * inverse), -127.0f, 127.0f);
      row_.values[k] = static_cast<std::uint8_t>(static_cast<int>(n) + 128);
    } else {
      const std::size_t g = k / static_cast<std::size_t>(format_.group);
      const float step = row_.channel_scale * row_.group_scales[g], z = row_.zero_points[g];
      const float n = std::clamp(round_to_even(step > 0 ? target / step : 0) + z, 0.0f, 15.0f);
      row_.values[k] = static_cast<std::uint8_t>(n);
    }
    return row_.dequantized(format_, k);
  }

  Quantization format_;
  QuantizedRow row_;
};

/// |x·dᵀ|, where d (N, K) are the differences of `w` and the weights that `row(r)` encodes, or `w`
/// itself where that row is empty.
template <class Row>
double output_norm(cpu::Backend& be, const std::vector<float>& w, const ErrorFeedback& feedback,
                   const Quantization& format, const Row& row) {
  const Index K = feedback.width(), N = static_cast<Index>(w.size()) / K;
  std::vector<float> difference = w;
  be.pool().run(N, [&](Index r) {
    const QuantizedRow quantized = row(r);
    for (std::size_t k = 0; k < quantized.values.size(); ++k)
      difference[static_cast<std::size_t>(r * K) + k] -= quantized.dequantized(format, k);
  });
  double sum = 0;
  for (const float v : host_product(be, feedback.rows(), difference, K)) sum += double{v} * v;
  return std::sqrt(sum);
}

/// The rows of w, rotated.
inline std::vector<float> rotated_rows(cpu::Backend& be, const HostTensor& w) {
  const Index N = w.shape[0], K = w.shape[1];
  std::vector<float> rows(static_cast<std::size_t>(N * K));
  copy_as_floats(rows.data(), w, 0, N * K);
  for (const float v : rows)
    if (!std::isfinite(v)) throw ArgumentError(w.name + ": a weight is not finite");
  be.pool().run(N, [&](Index r) {
    rotate(std::span(rows).subspan(static_cast<std::size_t>(r * K), static_cast<std::size_t>(K)));
  });
  return rows;
}

/// The rows of the matrix, quantized with feedback.
inline std::vector<QuantizedRow> gptq_rows(cpu::Backend& be, const std::vector<float>& w,
                                           const Quantization& format,
                                           const ErrorFeedback& feedback) {
  const Index K = feedback.width(), N = static_cast<Index>(w.size()) / K;
  const auto size = static_cast<std::size_t>(K);
  std::vector<float> targets = w;
  std::vector<GptqRow> rows;
  rows.reserve(static_cast<std::size_t>(N));
  for (Index r = 0; r < N; ++r)
    rows.emplace_back(std::span(w).subspan(static_cast<std::size_t>(r) * size, size), format);
  for (Index begin = 0; begin < K; begin += kGptqBlock) {
    const Index n = std::min(kGptqBlock, K - begin), end = begin + n;
    std::vector<float> errors(static_cast<std::size_t>(N * n));
    be.pool().run(N, [&](Index r) {
      const auto offset = static_cast<std::size_t>(r * K);
      rows[static_cast<std::size_t>(r)].quantize_block(
          std::span(w).subspan(offset, size), begin,
          std::span(targets).subspan(offset + static_cast<std::size_t>(begin),
                                     static_cast<std::size_t>(n)),
          feedback, errors.data() + r * n);
    });
    if (end == K) break;
    std::vector<float> later(static_cast<std::size_t>((K - end) * n));  // factors, transposed
    be.pool().run(K - end, [&](Index c) {
      for (Index i = 0; i < n; ++i)
        later[static_cast<std::size_t>(c * n + i)] = feedback.factors(begin + i)[end + c];
    });
    const std::vector<float> compensation = host_product(be, errors, later, n);  // (N, K - end)
    be.pool().run(N, [&](Index r) {
      for (Index c = 0; c < K - end; ++c)
        targets[static_cast<std::size_t>(r * K + end + c)] +=
            compensation[static_cast<std::size_t>(r * (K - end) + c)];
    });
  }
  std::vector<QuantizedRow> quantized;
  quantized.reserve(rows.size());
  for (const GptqRow& row : rows) quantized.push_back(row.row());
  return quantized;
}

}  // namespace detail

PLLAVA_INLINE ErrorFeedback::ErrorFeedback(cpu::Backend& be, const InputSample& input)
    : width_(input.width()) {
  if (be.activation_dtype() != DType::f32)
    throw ArgumentError("calibration: expected a backend that computes in f32");
  const Index K = width_, n = input.kept();
  if (n == 0) throw ArgumentError("calibration: a matrix has no recorded inputs");
  // R is the Cholesky factor of H with its channels in reverse order, which `reversed` has.
  std::vector<float> reversed(static_cast<std::size_t>(K * n));  // (K, n)
  const Index error_rows = std::min(n, detail::kErrorRows);
  rows_.resize(static_cast<std::size_t>(error_rows * K));
  be.pool().run(n, [&](Index r) {
    std::vector<float> row = input.row(r);
    rotate(row);
    for (Index k = 0; k < K; ++k)
      reversed[static_cast<std::size_t>((K - 1 - k) * n + r)] = row[static_cast<std::size_t>(k)];
    const Index stride = n / error_rows, sample = r / stride;
    if (r % stride == 0 && sample < error_rows)
      std::copy(row.begin(), row.end(), rows_.begin() + sample * K);
  });
  factors_ = detail::host_product(be, reversed, reversed, n);
  double trace = 0;
  for (Index k = 0; k < K; ++k) trace += factors_[static_cast<std::size_t>(k * (K + 1))];
  if (!std::isfinite(trace)) throw ArgumentError("calibration: an activation is not finite");
  const double damping = trace > 0 ? 0.1 * trace / static_cast<double>(K) : 1.0;
  for (Index k = 0; k < K; ++k)
    factors_[static_cast<std::size_t>(k * (K + 1))] += static_cast<float>(damping);
  detail::cholesky(be, factors_, K);
  std::reverse(factors_.begin(), factors_.end());  // both rows and columns
  be.pool().run(K, [&](Index i) {
    float* row = factors_.data() + i * K;
    for (Index c = i + 1; c < K; ++c) row[c] /= factors_[static_cast<std::size_t>(c * (K + 1))];
  });
}

PLLAVA_INLINE CalibratedMatrix gptq(cpu::Backend& be, const HostTensor& w,
                                    const Quantization& format, const ErrorFeedback& feedback) {
  require_valid(format);
  if (!is_rotated(format))
    throw ArgumentError("calibration: expected format int8 or int4, got " +
                        std::string(name_of(format.format)));
  if (!is_floating(w.dtype)) throw ArgumentError(w.name + ": the weights are quantized already");
  if (w.shape.rank() != 2 || w.shape[1] != feedback.width())
    throw ShapeError("calibration", "expected (N, " + std::to_string(feedback.width()) + "), got " +
                                        w.shape.str());
  const Index N = w.shape[0], K = w.shape[1];
  const std::vector<float> rotated = detail::rotated_rows(be, w);
  const std::vector<QuantizedRow> compensated = detail::gptq_rows(be, rotated, format, feedback);
  const auto rounded = [&](Index r) {
    return detail::quantize_rotated(
        std::span(rotated).subspan(static_cast<std::size_t>(r * K), static_cast<std::size_t>(K)),
        format);
  };
  const auto compensated_row = [&](Index r) { return compensated[static_cast<std::size_t>(r)]; };
  const double output =
      detail::output_norm(be, rotated, feedback, format, [](Index) { return QuantizedRow(); });
  const auto relative = [&](double norm) { return norm == 0 ? 0 : norm / output; };
  CalibratedMatrix result;
  result.rounding_error = relative(detail::output_norm(be, rotated, feedback, format, rounded));
  result.error = relative(detail::output_norm(be, rotated, feedback, format, compensated_row));
  const bool is_better = result.error < result.rounding_error;
  if (!is_better) result.error = result.rounding_error;
  const Index row_bytes = stored_row_bytes(format, K);
  const auto bytes =
      std::make_shared<std::vector<std::byte>>(static_cast<std::size_t>(N * row_bytes));
  be.pool().run(N, [&](Index r) {
    store_row(bytes->data() + r * row_bytes, is_better ? compensated_row(r) : rounded(r), format);
  });
  result.matrix = {DType::u8, w.shape, bytes->data(), bytes, format, w.name};
  return result;
}

}  // namespace pllava
