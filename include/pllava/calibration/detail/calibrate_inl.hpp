// Bodies of calibrate.hpp.
#pragma once

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "pllava/calibration/calibrate.hpp"
#include "pllava/models/architecture.hpp"
#include "pllava/pipeline.hpp"
#include "pllava/quantization/detail/awq_tensors.hpp"
#include "pllava/weights/detail/host_floats.hpp"

namespace pllava {
namespace detail {

// ---- recording ----------------------------------------------------------------------------------

struct Recording {
  TensorTable tensors;  // of the whole model
  std::vector<PerProjection<InputSample>> layers;
  std::map<const void*, InputSample*> inputs;  // prepared matrix -> the sample of its input
};

/// The CPU backend, which also notes what enters the products of the language model's layers. It
/// knows them by the memory of their weights. Matrices that a scope has marked to be rounded stay
/// plain.
class RecordingBackend final : public cpu::Backend {
 public:
  RecordingBackend(cpu::Backend backend, std::shared_ptr<Recording> recording)
      : cpu::Backend(std::move(backend)), recording_(std::move(recording)) {}
  RecordingBackend fork() const { return {cpu::Backend::fork(), recording_}; }

  Weight prepare(std::span<const HostTensor> parts, WeightRole role) {
    std::vector<HostTensor> plain(parts.begin(), parts.end());
    const TensorSpec* spec = recording_->tensors.find(plain[0].name);
    const AwqRole* awq = spec != nullptr && spec->awq ? &*spec->awq : nullptr;
    for (HostTensor& part : plain) {
      if (part.dtype != DType::u8)
        part.quantization = {};
      else if (awq != nullptr)
        throw ArgumentError(part.name + ": the weights are quantized already");
    }
    Weight weight = cpu::Backend::prepare(plain, role);
    if (awq != nullptr && !awq->is_norm)
      recording_->inputs[weight.data.get()] =
          &recording_->layers.at(static_cast<std::size_t>(awq->layer))[awq->input];
    return weight;
  }
  void linear(View y, ConstView x, const Linear& w, Activation act) {
    record(x, w);
    cpu::Backend::linear(y, x, w, act);
  }
  void residual(View x, ConstView y, const Linear& w) {
    record(y, w);
    cpu::Backend::residual(x, y, w);
  }
  void glu(View g, ConstView h, const Linear& gate_up, Activation act) {
    record(h, gate_up);
    cpu::Backend::glu(g, h, gate_up, act);
  }

 private:
  void record(ConstView x, const Linear& w) {
    const auto found = recording_->inputs.find(w.weight.data.get());
    if (found != recording_->inputs.end()) found->second->add(x);
  }

  std::shared_ptr<Recording> recording_;
};

// ---- searching ----------------------------------------------------------------------------------

/// Some outputs of the matrices of a product over some of its input rows.
class SampledLayers {
 public:
  SampledLayers(cpu::Backend& be, std::span<const HostTensor> matrices, const InputSample& input)
      : be_(be), K_(input.width()) {
    constexpr Index kMaxOutputs = 512;
    if (input.kept() == 0) throw ArgumentError("calibration saw no rows of a product");
    if (be.activation_dtype() != DType::f32)
      throw ArgumentError("the error of an output is computed in f32");
    for (const float v : input.rows())
      if (!std::isfinite(v)) throw ArgumentError("an activation is not finite");
    x_ = Tensor<cpu::Backend>(be, {input.kept(), K_}, DType::f32);
    be.upload(x_, input.rows().data());
    for (const HostTensor& t : matrices) {
      if (t.shape.rank() != 2 || t.shape[1] != K_)
        throw ShapeError("calibration",
                         "expected (N, " + std::to_string(K_) + "), got " + t.shape.str());
      if (!is_floating(t.dtype))
        throw ArgumentError(t.name + ": the weights are quantized already");
      const Index count = std::min(t.shape[0], kMaxOutputs);
      Matrix m{std::vector<float>(static_cast<std::size_t>(count * K_)), count, 0};
      for (Index n = 0; n < count; ++n)
        copy_as_floats(m.rows.data() + n * K_, t, n * t.shape[0] / count * K_, K_);
      m.energy = energy(m.rows, count);
      matrices_.push_back(std::move(m));
    }
  }

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
      const double e = energy(difference, m.count);
      total += e == 0 ? 0 : e / m.energy;
    }
    return std::sqrt(total / static_cast<double>(matrices_.size()));
  }

 private:
  struct Matrix {
    std::vector<float> rows;  // (count, K)
    Index count;
    double energy;  // of its outputs
  };

  /// |x·Wᵀ|² of a matrix (count, K)
  double energy(const std::vector<float>& rows, Index count) const {
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

/// The mean of a channel over the query heads of its group, for each of them.
PLLAVA_INLINE void share(std::vector<float>& mean, const Heads& heads) {
  const Index group = heads.num_query_heads / heads.num_kv_heads;
  if (group == 1) return;
  if (static_cast<Index>(mean.size()) != heads.num_query_heads * heads.head_dim)
    throw ShapeError("calibration", "the channels are not those of so many heads");
  for (Index r = 0; r < heads.num_kv_heads * heads.head_dim; ++r) {
    float* first = mean.data() + first_reader(heads, r);
    float sum = 0;
    for (Index h = 0; h < group; ++h) sum += first[h * heads.head_dim];
    for (Index h = 0; h < group; ++h) first[h * heads.head_dim] = sum / static_cast<float>(group);
  }
}

/// mean^alpha, normalised.
PLLAVA_INLINE std::vector<float> scales_of(const std::vector<float>& mean, double alpha) {
  const float top = std::ranges::max(mean);
  std::vector<float> scales(mean.size(), 1.0f);
  if (alpha == 0 || top <= 0) return scales;
  for (std::size_t k = 0; k < mean.size(); ++k)
    scales[k] = std::pow(std::max(mean[k] / top, 1e-4f), static_cast<float>(alpha));
  const auto [low, high] = std::ranges::minmax(scales);
  const float middle = std::sqrt(low * high);
  for (float& s : scales) s /= middle;
  return scales;
}

}  // namespace detail

PLLAVA_INLINE void InputSample::add(ConstView x) {
  if (seen_ == 0) {
    width_ = x.cols();
    sum_.assign(static_cast<std::size_t>(width_), 0.0);
    squares_ = sum_;
    rows_.reserve(static_cast<std::size_t>(kMaxRows * width_));
  }
  if (x.cols() != width_)
    throw ShapeError("InputSample",
                     "expected rows of " + std::to_string(width_) + ", got " + x.shape.str());
  std::vector<float> row(static_cast<std::size_t>(width_));
  for (Index r = 0; r < x.rows(); ++r, ++seen_) {
    for (std::size_t k = 0; k < row.size(); ++k) {
      row[k] = load_float(x.data, x.dtype, r * width_ + static_cast<Index>(k));
      sum_[k] += std::fabs(row[k]);
      squares_[k] += double{row[k]} * row[k];
    }
    if (seen_ % stride_ != 0) continue;
    if (kept() == kMaxRows) {  // keeps each second one
      for (Index i = 1; 2 * i < kMaxRows; ++i)
        std::copy_n(rows_.begin() + 2 * i * width_, width_, rows_.begin() + i * width_);
      rows_.resize(static_cast<std::size_t>(kMaxRows / 2 * width_));
      stride_ *= 2;
    }
    rows_.insert(rows_.end(), row.begin(), row.end());
  }
}

PLLAVA_INLINE std::vector<float> InputSample::mean_of(const std::vector<double>& sums) const {
  std::vector<float> mean;
  mean.reserve(sums.size());
  for (const double sum : sums)
    mean.push_back(static_cast<float>(sum / static_cast<double>(std::max<Index>(seen_, 1))));
  return mean;
}

PLLAVA_INLINE std::vector<PerProjection<InputSample>> record_inputs(
    const WeightScope& weights, const ModelConfig& config, const Tokenizer& tokenizer,
    const PreprocessConfig& pixels, std::span<const Clip> clips, const CalibrationOptions& options,
    const RunControl& control) {
  if (clips.empty()) throw ArgumentError("calibration needs a clip");
  const auto recording = std::make_shared<detail::Recording>();
  recording->tensors = model_tensors(config);
  recording->layers.resize(static_cast<std::size_t>(config.text.layers));
  const Pipeline model(detail::RecordingBackend(cpu::Backend(options.backend), recording), config,
                       with_progress(weights, recording->tensors.required(), control), tokenizer,
                       pixels);
  for (const Clip& clip : clips) {
    WatchOptions watch;
    watch.control = control;
    GenerateOptions generate;
    generate.max_new_tokens = options.new_tokens;
    generate.control = control;
    model.watch(clip, watch).ask(options.question, generate);
  }
  return std::move(recording->layers);
}

PLLAVA_INLINE double output_error(cpu::Backend& be, std::span<const HostTensor> matrices,
                                  const InputSample& input, const Quantization& format,
                                  std::span<const float> scales,
                                  std::span<const float> importance) {
  return detail::SampledLayers(be, matrices, input).error(format, scales, importance);
}

PLLAVA_INLINE ProjectionScales best_scales(cpu::Backend& be, std::span<const HostTensor> matrices,
                                           const InputSample& input, const Quantization& format,
                                           const Heads& heads) {
  constexpr int kSteps = 20;
  const detail::SampledLayers product(be, matrices, input);
  std::vector<float> mean = input.mean();
  detail::share(mean, heads);
  const std::vector<float> importance = input.mean_square();
  ProjectionScales best;
  best.scales = detail::scales_of(mean, 0);
  best.unscaled_error = best.error = product.error(format, best.scales, {});
  for (int step = 0; step <= kSteps; ++step) {
    const double alpha = static_cast<double>(step) / kSteps;
    std::vector<float> scales = detail::scales_of(mean, alpha);
    const double error = product.error(format, scales, importance);
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
                                    const Tokenizer& tokenizer, const PreprocessConfig& pixels,
                                    std::span<const Clip> clips, const Quantization& format,
                                    const CalibrationOptions& options, const RunControl& control) {
  if (format.format != WeightFormat::int4)
    throw ArgumentError("calibration is for int4 weights, not for " +
                        std::string(name_of(format.format)));
  require_valid(format);
  const auto inputs = record_inputs(weights, config, tokenizer, pixels, clips, options, control);
  cpu::BackendOptions in_f32 = options.backend;
  in_f32.dtype = DType::f32;
  cpu::Backend be(in_f32);
  const TensorTable tensors = model_tensors(config);
  Calibration calibration;
  for (std::size_t l = 0; l < inputs.size(); ++l) {
    PerProjection<ProjectionScales>& layer = calibration.layers.emplace_back();
    for (const Projection projection : kProjections) {
      control.check("calibrate");
      std::vector<HostTensor> matrices;
      for (const TensorSpec& spec : tensors)
        if (spec.awq && spec.awq->layer == static_cast<Index>(l) && spec.awq->input == projection &&
            !spec.awq->is_norm)
          matrices.push_back(weights.tensor(spec));
      layer[projection] =
          best_scales(be, matrices, inputs[l][projection], format,
                      projection == Projection::o ? detail::heads_of(config.text) : Heads{});
    }
    control.at("calibrate", static_cast<Index>(l) + 1, config.text.layers);
  }
  return calibration;
}

}  // namespace pllava
