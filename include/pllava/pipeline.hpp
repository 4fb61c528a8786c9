// A whole model: checkpoint, random weights or components in, sessions out.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "pllava/checkpoint/checkpoint.hpp"
#include "pllava/cpu/backend_options.hpp"
#include "pllava/media/preprocess.hpp"
#include "pllava/models/architecture.hpp"
#include "pllava/runtime/inference_context.hpp"
#include "pllava/runtime/session.hpp"
#include "pllava/runtime/sliding_window.hpp"
#include "pllava/text/tokenizer.hpp"
#include "pllava/weights/random_weights.hpp"
#include "pllava/weights/shared_weights.hpp"

namespace pllava {

/// The contents of a checkpoint, a directory or GGUF files; weight data are not read yet.
struct ModelFiles {
  Tokenizer tokenizer;
  PreprocessConfig preprocess;
  Checkpoint checkpoint;
  std::filesystem::path directory;  ///< it was opened here ...
  LoadOptions options;              ///< ... with these

  /// Reads tokenizer.json, preprocessor_config.json, config.json and the headers of the weights, or
  /// the metadata of the GGUF files `model` and options.mmproj. Small files come first, so that a
  /// fault in them costs no time. Throws LoadError.
  static ModelFiles open(const std::filesystem::path& model, const LoadOptions& options = {});
  /// The same with the given tokenizer instead of the model's.
  static ModelFiles open(const std::filesystem::path& model, const LoadOptions& options,
                         Tokenizer tokenizer);
};

/// Throws LoadError if the image size is not that of the vision tower, or the image token not that
/// of the tokenizer. Pipelines call it.
void require_consistent(const ModelConfig& config, const Tokenizer& tokenizer,
                        const PreprocessConfig& preprocess);

/// The file `options.cache` with this checkpoint's weights in the CPU backend's layout, so that a
/// model is packed and quantized once and not at every start. For cpu::BackendOptions::packed;
/// Pipeline::load on the CPU uses it by itself. Null if options.cache is empty.
///
/// The file is used if it was written from the same files with the same options: canonical paths,
/// sizes, times of the last changes of content and status, the whole config.json, the headers of
/// the weight files, and the first, middle and last 4 KiB of each tensor are compared. If only the
/// status time differs (a copied file), the checksums of the whole files are compared, which reads
/// them. Otherwise the file is written again and appears when all weights are loaded and commit()
/// is called. Changed bytes of the file itself are found by checksums. Throws as
/// cpu::PackedWeights.
std::shared_ptr<cpu::PackedWeights> packed_weights(const Checkpoint& checkpoint,
                                                   const LoadOptions& options, DType dtype);

/// Threads: const after construction and safe to share; copies share the weights. In a forked child
/// a model on the CPU and its sessions work on the calling thread only, see ThreadPool.
class Pipeline {
 public:
  /// Loads a checkpoint directory for the CPU, as in `load("model", {.threads = 4})`, or GGUF
  /// files, as in `load("text.gguf", {.mmproj = "vision.gguf"})`. Throws LoadError, ArgumentError
  /// (invalid options), OutOfMemoryError, CancelledError.
  static Pipeline load(const std::filesystem::path& directory, const LoadOptions& options = {},
                       const cpu::BackendOptions& backend = {}, const RunControl& control = {});

  /// The same on the given backend: `load(directory, cuda::Backend{})`.
  /// `Architectures` is an ArchitectureList of the model families to choose from.
  template <class Architectures = BuiltinArchitectures, Backend B>
  static Pipeline load(const std::filesystem::path& directory, B backend, LoadOptions options = {},
                       const RunControl& control = {}) {
    options.architectures = Architectures::kInfos;
    return load<Architectures>(ModelFiles::open(directory, options), std::move(backend), control);
  }

  /// The same from open files.
  template <class Architectures = BuiltinArchitectures, Backend B>
  static Pipeline load(ModelFiles files, B backend, const RunControl& control = {}) {
    return load_shared<Architectures>(std::move(files), std::move(backend), control,
                                      std::make_shared<SharedWeights>());
  }

  /// The model with an adapter instead of the one that it was loaded with, if any. `adapter` is a
  /// directory as for Checkpoint::open, over the base of this model: LoadOptions::base, else the
  /// directory that it was loaded from. LoRA is merged, so sessions are as fast as without; all
  /// weights that no adapter changes are shared. `lora_alpha` as in LoadOptions. Encoded videos
  /// belong to one of the models.
  ///
  /// Throws as `load`; ArgumentError for a model that was not loaded from a directory; LoadError
  /// for a directory that is not an adapter.
  Pipeline with_adapter(const std::filesystem::path& adapter, std::optional<double> lora_alpha = {},
                        const RunControl& control = {}) const;

  /// A model of random weights with one token per byte, on the CPU: for trying sizes and speeds
  /// without a checkpoint. Throws OutOfMemoryError, CancelledError.
  static Pipeline random(const ModelConfig& config, std::uint64_t seed = 0,
                         const cpu::BackendOptions& backend = {}, const RunControl& control = {});

  template <Backend B>
  static Pipeline random(const ModelConfig& config, B backend, std::uint64_t seed = 0,
                         const RunControl& control = {}) {
    const DType dtype = backend.activation_dtype();
    return random(config, std::move(backend), RandomWeights::scope(seed, dtype), control);
  }
  /// The same with weights of another source, for example `quantized(RandomWeights::scope(...))`.
  template <Backend B>
  static Pipeline random(const ModelConfig& config, B backend, const WeightScope& weights,
                         const RunControl& control = {}) {
    PreprocessConfig preprocess;
    preprocess.image_size = config.vision.image_size;
    return Pipeline(std::move(backend), config,
                    with_progress(weights, model_tensors(config).required(), control),
                    Tokenizer::bytes(config.image_token), preprocess);
  }

  /// From weights: `weights` is the root scope of a checkpoint's names.
  template <Backend B>
  Pipeline(B backend, const ModelConfig& config, const WeightScope& weights, Tokenizer tokenizer,
           const PreprocessConfig& preprocess)
      : Pipeline(build<BuiltinArchitectures>(std::move(backend), config, weights),
                 std::move(tokenizer), preprocess) {}

  /// From components: each is any type with the calls that Components documents, so a user's
  /// pooling, vision encoder, projector or language model can replace the built-in one. `backend`
  /// is the one that the components were loaded on.
  template <Backend B, class Vision, class Project, class Pool, class Language>
  Pipeline(B backend, const ModelConfig& config,
           Components<Vision, Project, Pool, Language> components, Tokenizer tokenizer,
           const PreprocessConfig& preprocess)
      : Pipeline(make_model(std::move(backend), config, std::move(components)),
                 std::move(tokenizer), preprocess) {}

  const ModelConfig& config() const noexcept { return model_->config(); }
  const Tokenizer& tokenizer() const noexcept { return tokenizer_; }
  const PreprocessConfig& preprocess_config() const noexcept { return preprocess_; }
  /// What a caller should know about a model that was loaded, in plain English: defects that
  /// LoadOptions::strict = false let pass, end_token_warnings, and template_warnings.
  const std::vector<std::string>& warnings() const noexcept { return warnings_; }
  /// Frames to sample from a clip.
  Index frames() const noexcept { return config().frames; }

  /// Encodes the clip and prefills the prompt up to it. A clip with fewer frames than `frames()`,
  /// even one, repeats frames as sampling would (each stands for an equal share of the time). All
  /// frames of a longer clip are encoded and then pooled over time to the same number of visual
  /// tokens. Throws MediaError (no frames, other sizes than the pixels given), PromptError,
  /// ContextError, CancelledError.
  Session watch(const Clip& clip, const WatchOptions& options = {}) const;

  /// The same with an encoded video: a sliding window, a cached clip. Answers equal those over the
  /// clip of the same frames, bit for bit. Throws PromptError,
  /// ContextError, CancelledError; ArgumentError for a video that another model encoded.
  Session watch(const EncodedVideo& video, const WatchOptions& options = {}) const;

  /// The visual tokens of a clip, without a session. Throws MediaError, CancelledError.
  EncodedVideo encode(const Clip& clip, const RunControl& control = {}) const;
  /// The visual tokens of each frame by itself: parts for EncodedVideo::concatenate. Throws as
  /// `encode`; ArgumentError for a model that pools over time.
  EncodedVideo encode_frames(std::span<const Frame> frames, const RunControl& control = {}) const;
  /// An empty window over a live video; see SlidingWindow. Throws as its constructor.
  SlidingWindow window(const WindowOptions& options = {}) const {
    return {model_, preprocess_, options};
  }

 private:
  template <class B, class C>
  static std::shared_ptr<const Model> make_model(B backend, const ModelConfig& config,
                                                 C components) {
    return std::make_shared<const BackendModel<B, C>>(std::move(backend), config,
                                                      std::move(components));
  }
  template <class Architectures, Backend B>
  static std::shared_ptr<const Model> build(B backend, const ModelConfig& config,
                                            const WeightScope& weights) {
    return Architectures::build(backend, config, weights, [&](auto components) {
      return make_model(std::move(backend), config, std::move(components));
    });
  }
  Pipeline(std::shared_ptr<const Model> model, Tokenizer tokenizer,
           const PreprocessConfig& preprocess);

  /// Loads `files`. Weights that adapters leave as they are go into `shared`, or come from it.
  template <class Architectures, Backend B>
  static Pipeline load_shared(ModelFiles files, B backend, const RunControl& control,
                              std::shared_ptr<SharedWeights> shared) {
    const Checkpoint& checkpoint = files.checkpoint;
    auto adapter_backend = std::make_shared<const B>(backend.fork());
    Pipeline pipeline(
        build<Architectures>(
            std::move(backend), checkpoint.config(),
            share(with_progress(checkpoint[""], checkpoint.tensors().required(), control), shared,
                  checkpoint.adapted())),
        std::move(files.tokenizer), files.preprocess);
    pipeline.add_warnings(checkpoint.report());
    pipeline.load_adapter_ = [adapter_backend, shared, base = adapter_base(files),
                              options = files.options,
                              tokenizer = pipeline.tokenizer_](const std::filesystem::path& adapter,
                                                               std::optional<double> lora_alpha,
                                                               const RunControl& adapter_control) {
      return load_shared<Architectures>(open_adapter(adapter, base, options, lora_alpha, tokenizer),
                                        adapter_backend->fork(), adapter_control, shared);
    };
    return pipeline;
  }
  static std::filesystem::path adapter_base(const ModelFiles& files) {
    return files.options.base.empty() ? files.directory : files.options.base;
  }
  static ModelFiles open_adapter(const std::filesystem::path& adapter,
                                 const std::filesystem::path& base, LoadOptions options,
                                 std::optional<double> lora_alpha, const Tokenizer& of_base);

  void add_warnings(const LoadReport& report);

  std::shared_ptr<const Model> model_;
  Tokenizer tokenizer_;
  PreprocessConfig preprocess_;
  std::vector<std::string> warnings_;
  std::function<Pipeline(const std::filesystem::path&, std::optional<double>, const RunControl&)>
      load_adapter_;  // empty if the model is not from a directory
};

}  // namespace pllava

#ifndef PLLAVA_COMPILED
#include "pllava/detail/pipeline_inl.hpp"
#endif
