// Model families: config.json -> ModelConfig -> TensorTable and Components. Only this file selects
// by model_type.
//
// An architecture is a type with static functions. To add one, define such a type and pass it in an
// ArchitectureList. Loading, checks, quantization, sessions and backends need no change:
// tests/support/toy_architecture.hpp adds one with another vision tower and another decoder.
#pragma once

#include <array>
#include <concepts>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "pllava/models/language_model.hpp"
#include "pllava/models/model_config.hpp"
#include "pllava/models/newline_projector.hpp"
#include "pllava/models/projector.hpp"
#include "pllava/models/temporal_pool.hpp"
#include "pllava/models/vision_encoder.hpp"
#include "pllava/weights/tensor_table.hpp"

namespace pllava {

/// The components of a model on one backend, each any type with the calls of the built-in one:
///
///     vision(be, pixels, control)          (T, 3, S, S) -> (T·P, Dv)
///     project(be, features, pool, grid)    (T·P, Dv) -> (tokens, D) f32; it calls `pool`
///     project.end_rows()                   optional: rows after the last frame of a video
///     project.write_end_rows(be, rows)     optional: writes them, (end_rows, D) f32
///     pool(be, x, grid)                    rows of a grid (T, H, W) -> pooled rows
///     language.make_cache(be, capacity)    an empty KvCache
///     language.embed(be, ids)              (N) -> (N, D) f32
///     language.forward(be, x, kv, logits, control)
///     language.step(be, id, kv, logits)
template <class Vision, class Project, class Pool, class Language>
struct Components {
  Vision vision;
  Project project;
  Pool pool;
  Language language;
};
template <class V, class P, class Pool, class L>
Components(V, P, Pool, L) -> Components<V, P, Pool, L>;

/// The part of an architecture that does not depend on a backend.
struct ArchitectureInfo {
  bool (*accepts)(std::string_view model_type);
  std::string_view model_types;  ///< the accepted ones, for messages
  ModelConfig (*read_config)(const std::filesystem::path& directory);
  TensorTable (*tensors)(const ModelConfig& config);
};

/// The static members of an architecture. It also needs the template
/// `build(B& be, const ModelConfig&, const WeightScope& root) -> Components`.
template <class A>
concept Architecture = requires(const ModelConfig& config, std::string_view model_type,
                                const std::filesystem::path& directory) {
  { A::kModelTypes } -> std::convertible_to<std::string_view>;
  { A::accepts(model_type) } -> std::same_as<bool>;
  { A::read_config(directory) } -> std::same_as<ModelConfig>;
  { A::tensors(config) } -> std::same_as<TensorTable>;
};

/// CLIP vision tower, two-layer projector, adaptive pooling, decoder of the LLaMA kind: PLLaVA,
/// LLaVA-1.5, LLaVA-NeXT and LLaVA-NeXT-Video checkpoints. Of LLaVA-NeXT only the base image is
/// encoded, no tiles.
struct Llava {
  static constexpr std::string_view kModelTypes =
      R"("llava", "llava_next", "llava_next_video" or "pllava")";

  static bool accepts(std::string_view model_type) noexcept {
    return model_type == "llava" || model_type == "llava_next" ||
           model_type == "llava_next_video" || model_type == "pllava";
  }
  /// Throws LoadError as read_model_config does.
  static ModelConfig read_config(const std::filesystem::path& directory);
  static TensorTable tensors(const ModelConfig& config);

  /// `weights` is the root scope. Throws LoadError, OutOfMemoryError.
  template <Backend B>
  static auto build(B& be, const ModelConfig& config, const WeightScope& weights) {
    return Components{VisionEncoder<B>(be, config.vision, weights["vision_tower"]),
                      Projector<B>(be, config.projector, weights["multi_modal_projector"]),
                      TemporalPool(config.pool),
                      LanguageModel<B>(be, config.text, weights["language_model"])};
  }
};

/// LLaVA-OneVision in the llava-hf layout: SigLIP vision tower, two-layer projector, frames resized
/// to half the side (bilinear), a Qwen2 decoder, and image_newline after the last frame. Pictures
/// are encoded as videos, without tiles.
struct LlavaOnevision {
  static constexpr std::string_view kModelTypes = R"("llava_onevision")";

  static bool accepts(std::string_view model_type) noexcept {
    return model_type == "llava_onevision";
  }
  /// Throws LoadError as read_model_config does.
  static ModelConfig read_config(const std::filesystem::path& directory);
  static TensorTable tensors(const ModelConfig& config);

  /// `weights` is the root scope. Throws LoadError, OutOfMemoryError.
  template <Backend B>
  static auto build(B& be, const ModelConfig& config, const WeightScope& weights) {
    return Components{VisionEncoder<B>(be, config.vision, weights["vision_tower"]),
                      NewlineProjector<B>(be, config.projector, weights), TemporalPool(config.pool),
                      LanguageModel<B>(be, config.text, weights["language_model"])};
  }
};

/// Architectures to choose from.
template <Architecture... As>
struct ArchitectureList {
  static constexpr std::array<ArchitectureInfo, sizeof...(As)> kInfos = {
      ArchitectureInfo{As::accepts, As::kModelTypes, As::read_config, As::tensors}...};

  /// Returns use(components) for the architecture that accepts config.model_type. Throws LoadError
  /// if none does, and whatever its `build` throws.
  template <Backend B, class Use>
  static auto build(B& be, const ModelConfig& config, const WeightScope& weights, const Use& use) {
    std::common_type_t<decltype(use(As::build(be, config, weights)))...> result{};
    bool found = false;
    const auto attempt = [&]<class A>(std::type_identity<A>) {
      if (found || !A::accepts(config.model_type)) return;
      found = true;
      result = use(A::build(be, config, weights));
    };
    (attempt(std::type_identity<As>{}), ...);
    if (!found)
      throw LoadError("unknown architecture", {.file = {},
                                               .tensor = "model_type",
                                               .expected = {},
                                               .got = '"' + config.model_type + '"'});
    return result;
  }
};

using BuiltinArchitectures = ArchitectureList<Llava, LlavaOnevision>;

inline std::span<const ArchitectureInfo> builtin_architectures() noexcept {
  return BuiltinArchitectures::kInfos;
}

/// Reads config.json of a checkpoint directory (and generation_config.json where it exists) with
/// the architecture that accepts its model_type. Throws LoadError: missing or malformed file, an
/// architecture that is not in the list, unsupported or contradictory values. Unknown keys are
/// ignored, as the published files carry leftovers.
ModelConfig read_model_config(
    const std::filesystem::path& directory,
    std::span<const ArchitectureInfo> architectures = builtin_architectures());

/// Every tensor that a model of this configuration may have, under canonical names. Throws
/// LoadError for a model_type that no architecture accepts.
TensorTable model_tensors(
    const ModelConfig& config,
    std::span<const ArchitectureInfo> architectures = builtin_architectures());

}  // namespace pllava

#ifndef PLLAVA_COMPILED
#include "pllava/models/detail/architecture_inl.hpp"
#include "pllava/models/detail/llava_config_inl.hpp"
#include "pllava/models/detail/llava_onevision_inl.hpp"
#endif
