// A checkpoint directory as a source of weights under canonical names (reference 7.2 to 7.6).
// Threads: immutable after opening, cheap to copy, safe to share.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "pllava/core/dtype.hpp"
#include "pllava/models/architecture.hpp"
#include "pllava/models/model_config.hpp"
#include "pllava/quantization/quantize.hpp"
#include "pllava/weights/weight_source.hpp"

namespace pllava {

struct LoadOptions {
  double lora_alpha = 4;  ///< not stored in checkpoints; weights get alpha/r · B·A added
  bool strict = true;     ///< false: `open` reports defects of the tensors instead of throwing
  std::filesystem::path base = {};   ///< llava-hf directory under an adapter-only one; else empty
  std::optional<Index> frames = {};  ///< overrides num_frames of config.json
  std::optional<Grid> pool = {};     ///< overrides pooling_shape of config.json
  QuantizeOptions quantize = {};     ///< quantize matrices while loading, unless the files are
  std::filesystem::path cache = {};  ///< see packed_weights(); empty for none
  /// The model families that may be loaded; config.json chooses by model_type.
  std::span<const ArchitectureInfo> architectures = builtin_architectures();
};

/// What was found. Lists hold "name" or "name: expected ..., got ...".
struct LoadReport {
  std::vector<std::string> files;
  Index tensors = 0;        ///< read by the model
  Index ignored = 0;        ///< known, not read by the model (the last vision layer, ...)
  Index parameters = 0;     ///< elements of the tensors read, LoRA factors apart
  std::uint64_t bytes = 0;  ///< of the tensors read, in the files, LoRA factors apart
  std::map<std::string, Index> dtypes;  ///< tensors read by type as stored: "BF16" -> 814
  Index lora_layers = 0;
  Index lora_rank = 0;
  double lora_alpha = 0;
  std::vector<std::string> missing;
  std::vector<std::string> misshapen;
  std::vector<std::string> wrong_dtype;
  std::vector<std::string> unused;  ///< names that no model of this configuration has

  /// No defect.
  bool clean() const noexcept {
    return missing.empty() && misshapen.empty() && wrong_dtype.empty() && unused.empty();
  }
  /// The type to compute in unless the user has another wish: bf16 for weights of 16 bits, as the
  /// reference does; f32 where most tensors are.
  DType dtype() const noexcept;
  /// Several lines for a log.
  std::string str() const;
};

class Checkpoint {
 public:
  /// Reads config.json and the headers of the shards that model.safetensors.index.json names, else
  /// of model-0*.safetensors, else of model.safetensors; no tensor data. Accepts the namings of
  /// PEFT-wrapped PLLaVA, llava-hf, newer transformers, and adapter-only output over
  /// `options.base`. One LoadError lists all missing, misshapen, wrongly typed and unused tensors.
  /// Throws LoadError, ArgumentError (options without sense).
  static Checkpoint open(const std::filesystem::path& directory, const LoadOptions& options = {});

  const ModelConfig& config() const noexcept { return config_; }
  /// Every tensor that the model may have.
  const TensorTable& tensors() const noexcept { return tensors_; }
  const LoadReport& report() const noexcept { return report_; }
  /// The formats of the matrices in the files.
  const QuantizeOptions& stored_formats() const noexcept { return stored_; }

  /// Weights under "vision_tower", "multi_modal_projector" or "language_model". Tensors borrow the
  /// mapped file, or are f32 copies where LoRA was merged into them.
  WeightScope operator[](std::string_view scope) const { return root_[scope]; }

 private:
  Checkpoint() = default;

  ModelConfig config_;
  TensorTable tensors_;
  LoadReport report_;
  QuantizeOptions stored_;
  WeightScope root_{nullptr};
};

}  // namespace pllava

#ifndef PLLAVA_COMPILED
#include "pllava/checkpoint/detail/checkpoint_inl.hpp"
#endif
