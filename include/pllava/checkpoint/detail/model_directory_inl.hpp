// Body of model_directory: what a directory is, before its weights are read.
#pragma once

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "pllava/checkpoint/checkpoint.hpp"
#include "pllava/checkpoint/detail/adapter_config.hpp"
#include "pllava/checkpoint/detail/checkpoint_files.hpp"
#include "pllava/checkpoint/detail/model_directory.hpp"
#include "pllava/io/detail/directory.hpp"
#include "pllava/io/detail/json_file.hpp"
#include "pllava/io/detail/json_reader.hpp"
#include "pllava/io/detail/stand_in.hpp"

namespace pllava {
namespace detail {

/// The names in a directory, sorted. Throws LoadError if it cannot be listed.
inline std::vector<std::string> sorted_names(const std::filesystem::path& directory) {
  std::error_code error;
  std::vector<std::string> names;
  for (const std::filesystem::path& path : list_directory(directory, error))
    names.push_back(path.filename().string());
  if (error)
    throw LoadError("cannot be listed: " + error.message(),
                    {.file = directory.string(), .tensor = {}, .expected = {}, .got = {}});
  std::sort(names.begin(), names.end());
  return names;
}

/// The snapshot of a hub cache's "models--org--name": the one of refs/main, else the only one.
PLLAVA_INLINE std::filesystem::path hub_snapshot(const std::filesystem::path& directory) {
  const std::filesystem::path snapshots = directory / "snapshots";
  const std::filesystem::path ref = directory / "refs" / "main";
  std::error_code error;
  std::string main;
  if (std::filesystem::is_regular_file(ref, error)) {
    main.resize(64);
    std::ifstream file(ref, std::ios::binary);
    file.read(main.data(), static_cast<std::streamsize>(main.size()));
    main.resize(static_cast<std::size_t>(file.gcount()));
    main.resize(std::min(main.size(), main.find_first_not_of("0123456789abcdef")));
  }
  if (!main.empty() && std::filesystem::is_directory(snapshots / main, error))
    return snapshots / main;
  const std::vector<std::string> names = sorted_names(snapshots);
  if (names.size() == 1) return snapshots / names.front();
  throw LoadError("is a cache of the hub client",
                  {.file = directory.string(),
                   .tensor = {},
                   .expected = "one of the directories in snapshots",
                   .got = names.empty() ? "none" : some_of(names)});
}

/// Refuses files of the original LLaVA repository, whose names and layout differ.
PLLAVA_INLINE void refuse_original_llava(const std::filesystem::path& directory,
                                         std::span<const ArchitectureInfo> architectures) {
  const std::filesystem::path path = directory / "config.json";
  const JsonDocument config = read_json_object(path);
  const JsonReader json(config.root, path.string());
  const nlohmann::json* type = json.find("model_type");
  const std::string name =
      type != nullptr && type->is_string() ? type->get<std::string>() : std::string();
  const bool is_accepted =
      std::any_of(architectures.begin(), architectures.end(),
                  [&](const ArchitectureInfo& info) { return info.accepts(name); });
  if (is_accepted && name != "llava") return;
  const std::array original = {"llava_llama", "llava_mistral", "llava_mpt", "llava_qwen"};
  const bool has_tower = json.find("mm_vision_tower") != nullptr;
  if (std::find(original.begin(), original.end(), name) == original.end() &&
      !(has_tower && json.find("vision_config") == nullptr))
    return;
  throw LoadError("is a model in the format of the original LLaVA repository",
                  {.file = path.string(),
                   .tensor = has_tower ? "mm_vision_tower" : "model_type",
                   .expected = "its llava-hf conversion, for example llava-hf/llava-1.5-7b-hf",
                   .got = {}});
}

/// Refuses a directory whose weights are in other files than safetensors.
PLLAVA_INLINE void refuse_other_weights(const std::filesystem::path& directory,
                                        const std::vector<std::string>& names) {
  std::vector<std::string> pickles, consolidated;
  for (const std::string& name : names) {
    const bool is_safetensors = name.ends_with(".safetensors");
    if (name.starts_with("consolidated") && is_safetensors)
      consolidated.push_back(name);
    else if (name == kAdapterWeights || name == "model.safetensors.index.json" ||
             (is_safetensors && name.starts_with("model")))
      return;
    else if (name.starts_with("optimizer") || name.starts_with("scheduler") ||
             name.starts_with("rng_state"))
      continue;  // of a training run
    else if (name.ends_with(".pt") || name.ends_with(".pth") ||
             (name.ends_with(".bin") &&
              (name.starts_with("pytorch_model") || name.starts_with("adapter_model"))))
      pickles.push_back(name);
  }
  if (pickles.empty() && consolidated.empty()) return;
  throw LoadError(
      pickles.empty() ? "consolidated weights are not read" : "pickle files are not read",
      {.file = directory.string(),
       .tensor = some_of(pickles.empty() ? consolidated : pickles),
       .expected = "safetensors, which save_pretrained of transformers or PEFT writes "
                   "(safe_serialization=True)",
       .got = {}});
}

/// Refuses a directory of GGUF files: which of them is the model is not known.
PLLAVA_INLINE void refuse_gguf_directory(const std::filesystem::path& directory,
                                         const std::vector<std::string>& names) {
  std::vector<std::string> files;
  for (const std::string& name : names)
    if (name.ends_with(".gguf")) files.push_back(name);
  if (files.empty()) return;
  throw LoadError("is a directory of GGUF files",
                  {.file = directory.string(),
                   .tensor = some_of(files),
                   .expected = "the path of the language model's file",
                   .got = {}});
}

/// Refuses an adapter that needs another directory.
PLLAVA_INLINE void refuse_lone_adapter(const std::filesystem::path& directory) {
  const std::filesystem::path path = directory / kAdapterConfig;
  const JsonDocument config = read_json_object(path);
  const nlohmann::json* name =
      JsonReader(config.root, path.string()).find("base_model_name_or_path");
  throw LoadError(
      "is an adapter without its base",
      {.file = directory.string(),
       .tensor = {},
       .expected = "--base (LoadOptions::base), the directory of the base model" +
                   (name == nullptr ? std::string() : ' ' + name->dump().substr(0, 200)),
       .got = {}});
}

PLLAVA_INLINE std::filesystem::path base_directory(const LoadOptions& options) {
  return options.base.empty()
             ? std::filesystem::path()
             : model_directory(options.base, {.architectures = options.architectures});
}

PLLAVA_INLINE const std::filesystem::path& place_of(const char* name,
                                                    const std::filesystem::path& directory,
                                                    const std::filesystem::path& base) {
  std::error_code error;
  return base.empty() || std::filesystem::exists(directory / name, error) ? directory : base;
}

}  // namespace detail

PLLAVA_INLINE std::filesystem::path model_directory(const std::filesystem::path& directory,
                                                    const LoadOptions& options) {
  std::error_code error;
  if (!std::filesystem::is_directory(directory, error))
    throw LoadError(
        std::filesystem::exists(directory, error) ? "is not a directory" : "no such directory",
        {.file = directory.string(), .tensor = {}, .expected = {}, .got = {}});
  const auto has = [&](const char* name) {
    return std::filesystem::exists(directory / name, error);
  };
  if (!has("config.json") && !has(detail::kAdapterConfig) &&
      std::filesystem::is_directory(directory / "snapshots", error))
    return model_directory(detail::hub_snapshot(directory), options);

  const std::vector<std::string> names = detail::sorted_names(directory);
  for (const std::string& name : names) {
    const bool is_weights = name.ends_with(".safetensors") &&
                            (name.starts_with("model") || name.starts_with("adapter_model"));
    constexpr std::array kRead = {"config.json",
                                  "generation_config.json",
                                  "adapter_config.json",
                                  "preprocessor_config.json",
                                  "processor_config.json",
                                  "video_preprocessor_config.json",
                                  "tokenizer.json",
                                  "tokenizer.model",
                                  "model.safetensors.index.json"};
    if (is_weights || std::find(kRead.begin(), kRead.end(), name) != kRead.end())
      detail::refuse_stand_in(directory / name);
  }
  if (has("config.json")) detail::refuse_original_llava(directory, options.architectures);
  if (!has("config.json") && !has(detail::kAdapterConfig))
    detail::refuse_gguf_directory(directory, names);
  detail::refuse_other_weights(directory, names);
  if (detail::is_peft_adapter(directory) &&
      std::any_of(names.begin(), names.end(), [](const std::string& name) {
        return name == "model.safetensors.index.json" ||
               (name.starts_with("model") && name.ends_with(".safetensors"));
      }))
    throw LoadError("holds the weights of a model and an adapter",
                    {.file = directory.string(),
                     .tensor = {},
                     .expected = "each in a directory of its own, or without "
                                 "adapter_model.safetensors if it is merged",
                     .got = {}});
  if (has(detail::kAdapterConfig) && options.base.empty() &&
      (detail::is_peft_adapter(directory) || !has("config.json")))
    detail::refuse_lone_adapter(directory);
  return directory;
}

}  // namespace pllava
