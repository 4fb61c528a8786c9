// quality: compares the predictions and features of two models, or of two types of one model.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "clip.hpp"
#include "commands.hpp"
#include "device.hpp"
#include "model.hpp"
#include "output.hpp"
#include "pllava/media/ops_preprocess.hpp"
#include "pllava/models/language_model.hpp"
#include "pllava/models/vision_encoder.hpp"
#include "pllava/runtime/inference_context.hpp"

namespace cli {
namespace {

/// A model whose predictions and features are compared.
class Subject {
 public:
  Subject() = default;
  Subject(const Subject&) = delete;
  Subject& operator=(const Subject&) = delete;
  virtual ~Subject() = default;
  /// Appends a token and returns the logits (V) of the next.
  virtual std::vector<float> next_logits(std::int32_t id) = 0;
  /// Vision features (T·P, D) of frames.
  virtual std::vector<float> features(std::span<const pllava::Frame> frames,
                                      const pllava::PreprocessConfig& config,
                                      const pllava::RunControl& control) = 0;
};

template <class B>
class SubjectOn final : public Subject {
 public:
  SubjectOn(B backend, const pllava::Checkpoint& checkpoint, Index positions,
            const pllava::RunControl& control)
      : be_(std::move(backend)),
        vision_config_(checkpoint.config().vision),
        vision_scope_(checkpoint["vision_tower"]),
        model_(be_, checkpoint.config().text,
               pllava::with_progress(checkpoint["language_model"], checkpoint.tensors().required(),
                                     control)),
        cache_(model_.make_cache(be_, positions)),
        logits_(be_, {1, checkpoint.config().text.vocab}, pllava::DType::f32),
        id_(be_, {1}, pllava::DType::i32) {}

  std::vector<float> next_logits(std::int32_t id) override {
    be_.upload(id_.view(), &id);
    model_.step(be_, id_, cache_, logits_);
    return pllava::detail::to_floats(be_, logits_);
  }

  std::vector<float> features(std::span<const pllava::Frame> frames,
                              const pllava::PreprocessConfig& config,
                              const pllava::RunControl& control) override {
    const pllava::VisionEncoder<B> vision(be_, vision_config_, vision_scope_);
    const Index S = config.image_size;
    pllava::Tensor<B> pixels(be_, {static_cast<Index>(frames.size()), 3, S, S}, pllava::DType::f32);
    pllava::ops::preprocess(be_, pixels.view(), frames, config);
    return pllava::detail::to_floats(be_, vision(be_, pixels, control));
  }

 private:
  B be_;
  pllava::VisionConfig vision_config_;
  pllava::WeightScope vision_scope_;
  pllava::LanguageModel<B> model_;
  pllava::KvCache<B> cache_;
  pllava::Tensor<B> logits_, id_;
};

pllava::LoadOptions quality_options(const Options& o) {
  pllava::LoadOptions load = load_options(o);
  load.architectures = all_architectures();
  return load;
}

std::unique_ptr<Subject> load_subject(const Context& context, const Options& o,
                                      const pllava::Checkpoint& checkpoint, Index positions) {
  const pllava::DType dtype = o.dtype.value_or(checkpoint.report().dtype());
  return on_device(o, dtype, [&]<class B>(B backend) -> std::unique_ptr<Subject> {
    return std::make_unique<SubjectOn<B>>(std::move(backend), checkpoint, positions,
                                          context.control());
  });
}

/// The options of the model that is compared with.
Options reference_options(Options o) {
  if (!o.against.empty()) {
    o.model = o.against;
    o.mmproj = o.against_mmproj;
    o.base.clear();
  }
  o.dtype = o.against_dtype;
  o.weights = o.against_weights;
  o.vision_weights = o.lm_weights = std::nullopt;
  o.int8_kv = false;
  return o;
}

/// The natural logarithms of the softmax of `logits`.
std::vector<double> log_softmax(const std::vector<float>& logits) {
  const double max = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float x : logits) sum += std::exp(x - max);
  const double log_sum = max + std::log(sum);
  std::vector<double> logs(logits.begin(), logits.end());
  for (double& x : logs) x -= log_sum;
  return logs;
}

std::ptrdiff_t top(const std::vector<double>& logs) {
  return std::max_element(logs.begin(), logs.end()) - logs.begin();
}

struct Quality {
  Index tokens = 0;
  double mean_kl = 0;  ///< of the reference's next-token distributions from the model's, in nats
  Index same_top = 0;  ///< tokens after which both predict the same next token
  double perplexity = 0, base_perplexity = 0;
  std::optional<double> feature_l2;  ///< relative error of the vision features
};

Quality compare_predictions(const std::vector<std::int32_t>& ids, Subject& model,
                            Subject& reference, const pllava::RunControl& control) {
  Quality q;
  q.tokens = static_cast<Index>(ids.size());
  double kl = 0, loss = 0, base_loss = 0;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    control.check("quality");
    const std::vector<double> logs = log_softmax(model.next_logits(ids[i]));
    const std::vector<double> base = log_softmax(reference.next_logits(ids[i]));
    for (std::size_t v = 0; v < logs.size(); ++v) kl += std::exp(base[v]) * (base[v] - logs[v]);
    q.same_top += top(logs) == top(base);
    if (i + 1 < ids.size()) {
      loss -= logs.at(static_cast<std::size_t>(ids[i + 1]));
      base_loss -= base.at(static_cast<std::size_t>(ids[i + 1]));
    }
    control.at("quality", static_cast<Index>(i) + 1, q.tokens);
  }
  const auto predicted = static_cast<double>(q.tokens - 1);
  q.mean_kl = kl / static_cast<double>(q.tokens);
  q.perplexity = std::exp(loss / predicted);
  q.base_perplexity = std::exp(base_loss / predicted);
  return q;
}

double relative_l2(const std::vector<float>& values, const std::vector<float>& reference) {
  double error = 0, norm = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    error += std::pow(double{values[i]} - reference[i], 2);
    norm += std::pow(double{reference[i]}, 2);
  }
  return std::sqrt(error / std::max(norm, std::numeric_limits<double>::min()));
}

std::string to_json_line(const Quality& q) {
  nlohmann::ordered_json json = {{"tokens", q.tokens},
                                 {"mean_kl", q.mean_kl},
                                 {"same_top", q.same_top},
                                 {"perplexity", q.perplexity},
                                 {"base_perplexity", q.base_perplexity},
                                 {"feature_l2", nullptr}};
  if (q.feature_l2) json["feature_l2"] = *q.feature_l2;
  return json.dump() + '\n';
}

std::string table(const Quality& q) {
  char text[400];
  std::snprintf(text, sizeof text,
                "tokens                 %lld\n"
                "mean KL divergence     %.5f\n"
                "same top token         %lld (%.1f %%)\n"
                "perplexity             %.3f (compared with %.3f)\n",
                static_cast<long long>(q.tokens), q.mean_kl, static_cast<long long>(q.same_top),
                100.0 * static_cast<double>(q.same_top) / static_cast<double>(q.tokens),
                q.perplexity, q.base_perplexity);
  std::string lines = text;
  if (q.feature_l2) {
    std::snprintf(text, sizeof text, "error of the features  %.3f %%\n", 100 * *q.feature_l2);
    lines += text;
  }
  return lines;
}

}  // namespace

int quality(const Context& context) {
  const Options& o = context.options;
  const Options reference_o = reference_options(o);
  const pllava::LoadOptions load = quality_options(o),
                            reference_load = quality_options(reference_o);
  const std::string text = read_text(o.text);
  std::vector<std::int32_t> ids = open_tokenizer(o).encode(text, {.parse_special = false});
  if (open_tokenizer(reference_o).encode(text, {.parse_special = false}) != ids)
    throw pllava::ArgumentError("the models have different tokenizers: " + o.model + " and " +
                                reference_o.model + " give other ids for " + o.text);
  const auto checkpoint = pllava::Checkpoint::open(o.model, load);
  const auto reference_checkpoint = pllava::Checkpoint::open(reference_o.model, reference_load);
  const pllava::TextConfig &a = checkpoint.config().text, &b = reference_checkpoint.config().text;
  if (a.vocab != b.vocab)
    throw pllava::ArgumentError("the models have vocabularies of " + std::to_string(a.vocab) +
                                " and " + std::to_string(b.vocab) + " tokens");
  const Index positions =
      std::min({static_cast<Index>(ids.size()), o.tokens, a.context, b.context});
  if (positions < 2)
    throw pllava::ArgumentError(o.text + " has " + std::to_string(positions) +
                                " tokens; expected at least 2");
  ids.resize(static_cast<std::size_t>(positions));

  for (const auto* side : {&checkpoint, &reference_checkpoint})
    if (!o.videos.empty() && !has_vision(*side))
      throw pllava::ArgumentError("--video: " + (side == &checkpoint ? o : reference_o).model +
                                  " has no vision tower");
  if (!o.videos.empty() &&
      checkpoint.config().vision.image_size != reference_checkpoint.config().vision.image_size)
    throw pllava::ArgumentError("--video: the vision towers have images of other sizes");

  const auto model = load_subject(context, o, checkpoint, positions);
  const auto reference = load_subject(context, reference_o, reference_checkpoint, positions);
  Quality q = compare_predictions(ids, *model, *reference, context.control());
  if (!o.videos.empty()) {
    const pllava::PreprocessConfig config = preprocess_of(o, load, checkpoint);
    const pllava::Clip clip = sample_clip(context, o.videos[0], checkpoint.config().frames, config);
    q.feature_l2 = relative_l2(model->features(clip.frames, config, context.control()),
                               reference->features(clip.frames, config, context.control()));
  }
  context.status.clear();
  write_output(o.json ? to_json_line(q) : table(q));
  return kSuccess;
}

}  // namespace cli
