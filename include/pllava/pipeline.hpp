// A whole model: checkpoint or random weights in, sessions out.
#pragma once

#include <filesystem>
#include <memory>
#include <utility>

#include "pllava/checkpoint/checkpoint.hpp"
#include "pllava/cpu/backend.hpp"
#include "pllava/media/preprocess.hpp"
#include "pllava/models/tensor_table.hpp"
#include "pllava/runtime/inference_context.hpp"
#include "pllava/runtime/session.hpp"
#include "pllava/text/tokenizer.hpp"
#include "pllava/weights/random_weights.hpp"

namespace pllava {

/// The file `options.cache` of this checkpoint's weights as the CPU computes with them, so that a
/// model is packed and rounded once and not at every start. It is read where it was made from the
/// same files with the same options, and else made anew: it appears when all weights are loaded
/// and commit() is called. Null where options.cache is empty. For cpu::BackendOptions::packed;
/// Pipeline::load does all this on the CPU. Throws as cpu::PackedWeights.
std::shared_ptr<cpu::PackedWeights> packed_weights(const Checkpoint& checkpoint,
                                                   const LoadOptions& options, DType dtype);

/// Threads: const after construction and safe to share; copies share the weights.
class Pipeline {
 public:
  /// Loads a checkpoint directory for the CPU. Computes in bf16 where the checkpoint is of 16 bits,
  /// unless `backend` names a type. Throws LoadError, OutOfMemoryError, CancelledError.
  static Pipeline load(const std::filesystem::path& directory, const LoadOptions& options = {},
                       const cpu::BackendOptions& backend = {}, const RunControl& control = {});

  /// The same on a backend of the caller's making, in its type: `load(dir, cuda::Backend{})`.
  template <Backend B>
  static Pipeline load(const std::filesystem::path& directory, B backend,
                       const LoadOptions& options = {}, const RunControl& control = {}) {
    Directory d = Directory::open(directory, options);
    return Pipeline(std::move(backend), d, control);
  }

  /// A model of random weights whose tokens are bytes, for the CPU: to try sizes and speeds without
  /// a checkpoint. Throws OutOfMemoryError, CancelledError.
  static Pipeline random(const ModelConfig& config, std::uint64_t seed = 0,
                         const cpu::BackendOptions& backend = {}, const RunControl& control = {});

  template <Backend B>
  static Pipeline random(const ModelConfig& config, B backend, std::uint64_t seed = 0,
                         const RunControl& control = {}) {
    PreprocessConfig pixels;
    pixels.image_size = config.vision.image_size;
    const DType dtype = backend.activation_dtype();
    return Pipeline(
        std::move(backend), config,
        with_progress(RandomWeights::scope(seed, dtype), required_tensors(config), control),
        Tokenizer::bytes(config.image_token), pixels);
  }

  /// From parts, on any backend: `weights` is the root scope of a checkpoint's names.
  template <Backend B>
  Pipeline(B backend, const ModelConfig& config, const WeightScope& weights, Tokenizer tokenizer,
           const PreprocessConfig& pixels)
      : Pipeline(std::make_shared<const ModelOn<B>>(std::move(backend), config, weights),
                 std::move(tokenizer), pixels) {}

  const ModelConfig& config() const noexcept { return model_->config(); }
  const Tokenizer& tokenizer() const noexcept { return tokenizer_; }
  const PreprocessConfig& pixels() const noexcept { return pixels_; }
  /// Frames to sample from a clip.
  Index frames() const noexcept { return config().frames; }

  /// Encodes the clip and prefills the prompt up to it. Throws MediaError, PromptError,
  /// ContextError, CancelledError.
  Session watch(const Clip& clip, const WatchOptions& options = {}) const;

 private:
  /// What lies in a checkpoint's directory.
  struct Directory {
    Tokenizer tokenizer;
    PreprocessConfig pixels;
    Checkpoint checkpoint;
    static Directory open(const std::filesystem::path& directory, const LoadOptions& options);
  };

  template <Backend B>
  Pipeline(B backend, Directory& d, const RunControl& control)
      : Pipeline(std::move(backend), d.checkpoint.config(),
                 with_progress(d.checkpoint[""], required_tensors(d.checkpoint.config()), control),
                 std::move(d.tokenizer), d.pixels) {}
  Pipeline(std::shared_ptr<const Model> model, Tokenizer tokenizer, const PreprocessConfig& pixels);

  std::shared_ptr<const Model> model_;
  Tokenizer tokenizer_;
  PreprocessConfig pixels_;
};

}  // namespace pllava

#ifndef PLLAVA_COMPILED
#include "pllava/detail/pipeline_inl.hpp"
#include "pllava/models/tensor_table.hpp"
#include "pllava/weights/random_weights.hpp"
#endif
