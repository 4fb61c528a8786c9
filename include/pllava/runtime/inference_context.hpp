// The components of one model behind an interface without a backend type: what Session and Pipeline
// stand on. This is the only place where the type of the backend is erased.
#pragma once

#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "pllava/core/control.hpp"
#include "pllava/media/preprocess.hpp"
#include "pllava/models/language_model.hpp"
#include "pllava/models/projector.hpp"
#include "pllava/models/vision_encoder.hpp"
#include "pllava/text/sampling.hpp"

namespace pllava {

/// Intermediate results of one clip, for comparison with the reference. All f32, row-major.
struct Trace {
  std::vector<float> pixel_values;      ///< (T, 3, S, S)
  std::vector<float> vision_features;   ///< (T·P, D)
  std::vector<float> video_embeddings;  ///< (t·h·w, D)
};

struct VideoTimings {
  double preprocess_ms = 0, vision_ms = 0, project_ms = 0, prefill_ms = 0;
};

/// One conversation's keys and values. After a throw they are as before the call. Belongs to one
/// thread at a time.
class Engine {
 public:
  Engine() = default;
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  virtual ~Engine() = default;

  virtual Index length() const = 0;
  virtual Index capacity() const = 0;
  /// Forgets everything after the first `length` rows.
  virtual void truncate(Index length) = 0;
  /// Encodes frames, projects, pools and appends the rows. Throws MediaError.
  virtual VideoTimings append_video(std::span<const Frame> frames, const PreprocessConfig& pixels,
                                    const RunControl& control, Trace* trace) = 0;
  /// Appends token ids, at least one, and computes the logits of the next token.
  virtual void append_tokens(std::span<const std::int32_t> ids, const RunControl& control) = 0;
  /// Chooses the next token from the logits that the last append or step left; it is not appended.
  virtual std::int32_t sample(Sampler& sampler) = 0;
  /// Appends the token that `sample` chose, and computes the logits of the next.
  virtual void step() = 0;
  /// A copy of the logits (V).
  virtual std::vector<float> logits() = 0;
};

/// Loaded weights that engines are made of. Const and safe to share between threads.
class Model {
 public:
  explicit Model(ModelConfig config) : config_(std::move(config)) {}
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;
  virtual ~Model() = default;

  const ModelConfig& config() const noexcept { return config_; }
  /// An engine with room for `capacity` rows; 0 means the model's whole context. Throws
  /// ContextError (more than that), ArgumentError (less than nothing), OutOfMemoryError.
  virtual std::unique_ptr<Engine> make_engine(Index capacity) const = 0;

 private:
  ModelConfig config_;
};

/// The model on backend B.
template <Backend B>
class ModelOn final : public Model, public std::enable_shared_from_this<ModelOn<B>> {
 public:
  /// `weights` is the root scope of a checkpoint. Throws LoadError, OutOfMemoryError.
  ModelOn(B backend, const ModelConfig& model, const WeightScope& weights)
      : Model(model),
        backend_(std::move(backend)),
        vision_(backend_, model.vision, weights["vision_tower"]),
        project_(backend_, model.projector, weights["multi_modal_projector"]),
        pool_(model.pool),
        language_(backend_, model.text, weights["language_model"]) {}

  std::unique_ptr<Engine> make_engine(Index capacity) const override;

 private:
  class EngineOn;

  B backend_;
  VisionEncoder<B> vision_;
  Projector<B> project_;
  TemporalPool pool_;
  LanguageModel<B> language_;
};

}  // namespace pllava

#include "pllava/runtime/detail/inference_context_inl.hpp"
