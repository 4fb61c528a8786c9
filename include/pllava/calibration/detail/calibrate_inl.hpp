// Bodies of calibration/calibrate.hpp.
#pragma once

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include "pllava/calibration/calibrate.hpp"
#include "pllava/calibration/detail/recording_backend.hpp"
#include "pllava/calibration/detail/sampled_projection.hpp"
#include "pllava/models/architecture.hpp"
#include "pllava/pipeline.hpp"
#include "pllava/quantization/detail/awq_tensors.hpp"

namespace pllava {
namespace detail {

/// Replaces the values of query heads that share a kv head by their mean.
PLLAVA_INLINE void average_groups(std::vector<float>& values, const Heads& heads) {
  const Index group = heads.group_size();
  if (group == 1) return;
  const Index channels = heads.num_query_heads * heads.head_dim;
  if (static_cast<Index>(values.size()) != channels)
    throw ShapeError("calibration", "expected " + std::to_string(channels) +
                                        " channels for these heads, got " +
                                        std::to_string(values.size()));
  for (Index r = 0; r < heads.num_kv_heads * heads.head_dim; ++r) {
    float* first = values.data() + first_o_channel(heads, r);
    float sum = 0;
    for (Index h = 0; h < group; ++h) sum += first[h * heads.head_dim];
    for (Index h = 0; h < group; ++h) first[h * heads.head_dim] = sum / static_cast<float>(group);
  }
}

/// mean^alpha, normalized as best_scales describes.
PLLAVA_INLINE std::vector<float> scales_of(const std::vector<float>& mean, double alpha) {
  const float max = *std::max_element(mean.begin(), mean.end());
  std::vector<float> scales(mean.size(), 1.0f);
  if (alpha == 0 || max <= 0) return scales;
  for (std::size_t k = 0; k < mean.size(); ++k)
    scales[k] = std::pow(std::max(mean[k] / max, 1e-4f), static_cast<float>(alpha));
  const auto [low, high] = std::minmax_element(scales.begin(), scales.end());
  const float geometric_mean = std::sqrt(*low * *high);
  for (float& s : scales) s /= geometric_mean;
  return scales;
}

}  // namespace detail

PLLAVA_INLINE std::vector<PerProjection<InputSample>> record_inputs(
    const WeightScope& weights, const ModelConfig& config, const Tokenizer& tokenizer,
    const PreprocessConfig& preprocess, std::span<const Clip> clips,
    const CalibrationOptions& options, const RunControl& control) {
  if (clips.empty()) throw ArgumentError("calibration needs at least one clip");
  const auto recording = std::make_shared<detail::Recording>();
  recording->tensors = model_tensors(config);
  recording->layers.resize(static_cast<std::size_t>(config.text.layers));
  const Pipeline model(detail::RecordingBackend(cpu::Backend(options.backend), recording), config,
                       with_progress(weights, recording->tensors.required(), control), tokenizer,
                       preprocess);
  for (const Clip& clip : clips) {
    WatchOptions watch;
    watch.control = control;
    GenerateOptions generate;
    generate.max_new_tokens = options.max_new_tokens;
    generate.control = control;
    model.watch(clip, watch).ask(options.question, generate);
  }
  return std::move(recording->layers);
}

PLLAVA_INLINE double output_error(cpu::Backend& be, std::span<const HostTensor> matrices,
                                  const InputSample& input, const Quantization& format,
                                  std::span<const float> scales,
                                  std::span<const float> importance) {
  return detail::SampledProjection(be, matrices, input).error(format, scales, importance);
}

PLLAVA_INLINE ProjectionScales best_scales(cpu::Backend& be, std::span<const HostTensor> matrices,
                                           const InputSample& input, const Quantization& format,
                                           const Heads& heads) {
  constexpr int kSteps = 20;
  const detail::SampledProjection projection(be, matrices, input);
  std::vector<float> mean = input.mean();
  detail::average_groups(mean, heads);
  const std::vector<float> importance = input.mean_square();
  ProjectionScales best;
  best.scales = detail::scales_of(mean, 0);
  best.unscaled_error = best.error = projection.error(format, best.scales, {});
  for (int step = 0; step <= kSteps; ++step) {
    const double alpha = static_cast<double>(step) / kSteps;
    std::vector<float> scales = detail::scales_of(mean, alpha);
    const double error = projection.error(format, scales, importance);
    if (error < best.error) {
      best.scales = std::move(scales);
      best.importance = importance;
      best.alpha = alpha;
      best.error = error;
    }
  }
  return best;
}

PLLAVA_INLINE Calibration calibrate(const WeightScope& weights, const ModelConfig& config,
                                    const Tokenizer& tokenizer, const PreprocessConfig& preprocess,
                                    std::span<const Clip> clips, const Quantization& format,
                                    const CalibrationOptions& options, const RunControl& control) {
  if (format.format != WeightFormat::int4)
    throw ArgumentError("calibration: expected format int4, got " +
                        std::string(name_of(format.format)));
  require_valid(format);
  const auto inputs =
      record_inputs(weights, config, tokenizer, preprocess, clips, options, control);
  cpu::BackendOptions in_f32 = options.backend;
  in_f32.dtype = DType::f32;
  cpu::Backend be(in_f32);
  const TensorTable tensors = model_tensors(config);
  const auto matrices_of = [&](Index layer, Projection projection) {
    std::vector<HostTensor> matrices;
    for (const TensorSpec& spec : tensors)
      if (spec.awq && spec.awq->layer == layer && spec.awq->input == projection &&
          !spec.awq->is_norm)
        matrices.push_back(weights.tensor(spec));
    return matrices;
  };
  Calibration calibration;
  for (std::size_t l = 0; l < inputs.size(); ++l) {
    PerProjection<ProjectionScales>& layer = calibration.layers.emplace_back();
    for (const Projection p : kProjections) {
      control.check("calibrate");
      layer[p] = best_scales(be, matrices_of(static_cast<Index>(l), p), inputs[l][p], format,
                             p == Projection::o ? detail::heads_of(config.text) : Heads{});
    }
    control.at("calibrate", static_cast<Index>(l) + 1, config.text.layers);
  }
  return calibration;
}

}  // namespace pllava
