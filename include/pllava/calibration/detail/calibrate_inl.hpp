// Bodies of calibration/calibrate.hpp.
#pragma once

#include <algorithm>
#include <memory>
#include <mutex>
#include <utility>

#include "pllava/calibration/calibrate.hpp"
#include "pllava/calibration/detail/recording_backend.hpp"
#include "pllava/models/architecture.hpp"
#include "pllava/models/language_model.hpp"
#include "pllava/pipeline.hpp"

namespace pllava {
namespace detail {

/// Quantizes recorded matrices when they are read.
class CalibratedWeights final : public WeightSource {
 public:
  CalibratedWeights(WeightScope weights, std::map<std::string, std::shared_ptr<InputSample>> inputs,
                    const CalibrationOptions& options,
                    std::function<void(const MatrixError&)> on_matrix)
      : weights_(std::move(weights)),
        inputs_(std::move(inputs)),
        min_rows_(options.min_rows),
        on_matrix_(std::move(on_matrix)),
        be_(in_f32(options.backend)) {}

  HostTensor tensor(const TensorSpec& spec) const override {
    HostTensor tensor = weights_.tensor(spec);
    const auto found = inputs_.find(spec.name);
    if (found == inputs_.end() || found->second == nullptr || found->second->kept() < min_rows_)
      return tensor;
    const std::lock_guard lock(mutex_);
    if (feedback_of_ != found->second) {  // matrices of one input follow each other
      feedback_ = nullptr, feedback_of_ = nullptr;
      feedback_ = std::make_unique<const ErrorFeedback>(be_, *found->second);
      feedback_of_ = found->second;
    }
    CalibratedMatrix calibrated = gptq(be_, tensor, tensor.quantization, *feedback_);
    if (on_matrix_)
      on_matrix_({spec.name, found->second->seen(), calibrated.rounding_error, calibrated.error});
    return std::move(calibrated.matrix);
  }
  bool contains(const std::string& name) const override { return weights_.contains(name); }

 private:
  static cpu::BackendOptions in_f32(cpu::BackendOptions options) {
    options.dtype = DType::f32;
    return options;
  }

  WeightScope weights_;
  std::map<std::string, std::shared_ptr<InputSample>> inputs_;
  Index min_rows_;
  std::function<void(const MatrixError&)> on_matrix_;
  mutable std::mutex mutex_;
  mutable cpu::Backend be_;
  mutable std::shared_ptr<const InputSample> feedback_of_;
  mutable std::unique_ptr<const ErrorFeedback> feedback_;
};

}  // namespace detail

PLLAVA_INLINE Calibration::Calibration(WeightScope weights, TensorTable tensors,
                                       const QuantizeOptions& formats,
                                       const CalibrationOptions& options)
    : weights_(std::move(weights)),
      tensors_(std::move(tensors)),
      formats_(formats),
      options_(options) {
  require_valid(formats.vision);
  require_valid(formats.language);
  for (const TensorSpec& spec : tensors_)
    if (spec.presence == Presence::required && spec.group != QuantizationGroup::lm_head &&
        !spec.is_lookup_table && is_rotated(quantization_of(spec, formats)))
      inputs_.emplace(spec.name, nullptr);
  if (inputs_.empty())
    throw ArgumentError("calibration: no matrix of the model is quantized to int8 or int4");
}

PLLAVA_INLINE void Calibration::add(const ModelConfig& config, std::span<const Clip> clips,
                                    const Tokenizer& tokenizer, const PreprocessConfig& preprocess,
                                    const RunControl& control) {
  if (clips.empty()) throw ArgumentError("calibration needs at least one clip");
  const auto recording =
      std::make_shared<detail::Recording>(detail::Recording{inputs_, options_.max_rows, {}});
  const Pipeline model(detail::RecordingBackend(cpu::Backend(options_.backend), recording), config,
                       with_progress(weights_, tensors_.required(), control), tokenizer,
                       preprocess);
  for (const Clip& clip : clips) {
    WatchOptions watch;
    watch.control = control;
    GenerateOptions generate;
    generate.max_new_tokens = options_.max_new_tokens;
    generate.control = control;
    model.watch(clip, watch).ask(options_.question, generate);
  }
}

PLLAVA_INLINE void Calibration::add_text(const TextConfig& config,
                                         std::span<const std::int32_t> ids,
                                         const RunControl& control) {
  if (ids.size() < 2)
    throw ArgumentError("calibration: expected a text of at least 2 tokens, got " +
                        std::to_string(ids.size()));
  ids = ids.first(std::min(ids.size(), static_cast<std::size_t>(options_.max_rows)));
  const auto recording =
      std::make_shared<detail::Recording>(detail::Recording{inputs_, options_.max_rows, {}});
  using B = detail::RecordingBackend;
  B be(cpu::Backend(options_.backend), recording);
  const LanguageModel<B> model(
      be, config, with_progress(weights_, tensors_.required(), control)["language_model"]);
  // A passage is a context of its own. The logits of each step are computed although nobody reads
  // them: only rows with logits reach the last matrices of the last layer.
  constexpr Index kPassage = 1024, kStep = 8;
  const auto total = static_cast<Index>(ids.size());
  for (Index begin = 0; begin < total; begin += std::min(kPassage, config.context)) {
    const Index end = std::min(total, begin + std::min(kPassage, config.context));
    KvCache<B> kv = model.make_cache(be, end - begin);
    Tensor<B> logits(be, {1, config.vocab}, DType::f32);
    for (Index i = begin; i < end; i += kStep) {
      const Index n = std::min(kStep, end - i);
      auto x =
          model.embed(be, ids.subspan(static_cast<std::size_t>(i), static_cast<std::size_t>(n)));
      model.forward(be, x, kv, logits);
      control.at("calibrate", i + n, total);
    }
  }
}

PLLAVA_INLINE WeightScope
Calibration::quantized_weights(const std::function<void(const MatrixError&)>& on_matrix) const {
  if (std::none_of(inputs_.begin(), inputs_.end(), [&](const auto& input) {
        return input.second != nullptr && input.second->kept() >= options_.min_rows;
      }))
    throw ArgumentError("calibration: no matrix has seen " + std::to_string(options_.min_rows) +
                        " rows of input; more clips or texts are needed");
  return WeightScope(std::make_shared<const detail::CalibratedWeights>(
      quantized(weights_, formats_), inputs_, options_, on_matrix));
}

}  // namespace pllava
