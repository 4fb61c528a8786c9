// A checkpoint as a source of weights under canonical names (reference 7.2 to 7.6): a directory, or
// a GGUF file with a second one for the vision tower.
// Threads: immutable after opening, cheap to copy, safe to share.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <set>
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
  /// Pipeline::load for the CPU: type of the computation and number of threads, if
  /// cpu::BackendOptions leaves them open. Empty: f32 for f32 checkpoints, else bf16. 0: one thread
  /// for each processor that the process may use.
  std::optional<DType> dtype = {};
  Index threads = 0;
  /// W + alpha/r · B·A is loaded. Empty: lora_alpha and alpha_pattern of adapter_config.json; 4 if
  /// there is no such file, as in the published checkpoints.
  std::optional<double> lora_alpha = {};
  bool strict = true;  ///< false: defects of the tensors go to the report, not to a LoadError
  std::filesystem::path base = {};  ///< llava-hf directory that an adapter lies over
  /// GGUF file of the vision tower and projector, for a model that is a GGUF file.
  std::filesystem::path mmproj = {};
  std::optional<Index> frames = {};  ///< overrides num_frames of config.json
  std::optional<Grid> pool = {};     ///< overrides pooling_shape of config.json
  QuantizeOptions quantize = {};     ///< formats of unquantized matrices after loading
  std::filesystem::path cache = {};  ///< file of packed weights, see packed_weights(); or empty
  /// The model families that may be loaded; config.json chooses by model_type.
  std::span<const ArchitectureInfo> architectures = builtin_architectures();
};

/// The result of the strict check. Lists hold "name" or "name: expected ..., got ...".
struct LoadReport {
  std::vector<std::string> files;
  Index tensors = 0;                    ///< read by the model
  Index ignored = 0;                    ///< known but unused (the last vision layer, ...)
  Index parameters = 0;                 ///< elements of the tensors read, without LoRA factors
  std::uint64_t bytes = 0;              ///< size in the files of the tensors read, without LoRA
  std::map<std::string, Index> dtypes;  ///< tensors read by type as stored: "BF16" -> 814
  DType default_dtype = DType::bf16;    ///< see dtype()
  Index lora_layers = 0;
  Index lora_rank = 0;
  double lora_alpha = 0;              ///< 0 without LoRA
  std::string lora_alpha_source;      ///< "adapter_config.json", "option" or "default"
  Index lora_alpha_patterned = 0;     ///< layers with another alpha, by alpha_pattern
  bool lora_rank_stabilized = false;  ///< use_rslora: B·A is scaled by alpha/sqrt(r)
  std::vector<std::string> missing;
  std::vector<std::string> misshapen;
  std::vector<std::string> wrong_dtype;
  std::vector<std::string> unused;  ///< names outside the tensor table
  /// Sentences about values that no file gives, and ModelConfig::notes.
  std::vector<std::string> notes;

  /// Whether no defect was found. Notes are not defects.
  bool clean() const noexcept {
    return missing.empty() && misshapen.empty() && wrong_dtype.empty() && unused.empty();
  }
  /// The default type of the computation: f32 if most tensors are f32, else bf16, as in the
  /// reference. Of GGUF files, which store all vectors in F32, the parameters are counted.
  DType dtype() const noexcept { return default_dtype; }
  /// The defects as sentences, each with some names: "2 tensors are unused: a, b"; and the notes.
  std::vector<std::string> warnings() const;
  /// Several lines for a log.
  std::string str() const;
};

/// The directory from which `directory` is loaded: itself, or for the top directory of a model in
/// the hub client's cache (models--org--name) the snapshot of refs/main, else the only one.
/// Throws LoadError for what cannot be loaded, before weights are read: Git LFS pointers and HTML
/// pages in the place of files, pickle files, models of the original LLaVA repository, an adapter
/// without options.base.
std::filesystem::path model_directory(const std::filesystem::path& directory,
                                      const LoadOptions& options = {});

class Checkpoint {
 public:
  /// Reads config.json and the headers of the shards that model.safetensors.index.json names, else
  /// of model-0*.safetensors, else of model.safetensors; no tensor data. Accepts the namings of
  /// PEFT-wrapped PLLaVA, llava-hf, newer transformers, and adapters over `options.base`: those of
  /// the reference, and PEFT's adapter_config.json with adapter_model.safetensors. One LoadError
  /// lists all missing, misshapen, wrongly typed and unused tensors. Throws LoadError,
  /// ArgumentError (invalid options).
  ///
  /// `model` may be a GGUF file as llama.cpp writes it: a language model of the architecture llama
  /// or qwen2 for text_architectures(), or with options.mmproj a video model of the LLaVA kind.
  /// Quantized types are dequantized exactly to f32, tensor by tensor as they are read. Metadata
  /// that would change the computation and are not supported are refused by their key.
  static Checkpoint open(const std::filesystem::path& model, const LoadOptions& options = {});

  const ModelConfig& config() const noexcept { return config_; }
  /// Every tensor that the files may hold, required and unused.
  const TensorTable& tensors() const noexcept { return tensors_; }
  const LoadReport& report() const noexcept { return report_; }
  /// The formats in which the matrices are stored.
  const QuantizeOptions& stored_formats() const noexcept { return stored_; }
  /// tokenizer.chat_template of a GGUF file, a Jinja template; empty if there is none.
  const std::string& chat_template() const noexcept { return chat_template_; }

  /// The tensors that an adapter over options.base adds LoRA to or replaces; empty without a base.
  const std::set<std::string>& adapted() const noexcept { return adapted_; }

  /// Weights under "vision_tower", "multi_modal_projector" or "language_model". Tensors borrow the
  /// mapped file; those with merged LoRA are f32 copies.
  WeightScope operator[](std::string_view scope) const { return root_[scope]; }

 private:
  Checkpoint() = default;
  static Checkpoint open_directory(const std::filesystem::path& directory,
                                   const LoadOptions& options);
  static Checkpoint open_gguf(const std::filesystem::path& file, const LoadOptions& options);
  /// Applies the options that override the configuration.
  void override_config(const LoadOptions& options);
  /// Throws LoadError for the defects of the report if options.strict. `description`:
  /// "config.json".
  void require_clean(const std::string& file, const char* description,
                     const LoadOptions& options) const;

  ModelConfig config_;
  TensorTable tensors_;
  LoadReport report_;
  QuantizeOptions stored_;
  std::set<std::string> adapted_;
  std::string chat_template_;
  WeightScope root_{nullptr};
};

}  // namespace pllava

#ifndef PLLAVA_COMPILED
#include "pllava/checkpoint/detail/checkpoint_inl.hpp"
#include "pllava/checkpoint/detail/gguf_checkpoint_inl.hpp"
#endif
