// The files of a checkpoint directory, and the names of the tensors in them (reference 7.2 to 7.4).
#pragma once

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "pllava/checkpoint/detail/adapter_config.hpp"
#include "pllava/io/detail/directory.hpp"
#include "pllava/io/detail/json_file.hpp"
#include "pllava/weights/safetensors.hpp"

namespace pllava::detail {

enum class TensorPart { weight, lora_a, lora_b };

struct CanonicalName {
  std::string name;
  TensorPart part = TensorPart::weight;
};

/// The llava-hf name of a tensor and which part of that weight it is.
inline CanonicalName canonical_name(std::string name) {
  const auto replace_prefix = [&](std::string_view from, std::string_view to) {
    if (name.starts_with(from)) name.replace(0, from.size(), to);
  };
  replace_prefix(kPeftPrefix, "");
  for (const std::string_view wrapper : {".modules_to_save.default.", ".modules_to_save."})
    if (const std::size_t at = name.find(wrapper); at != std::string::npos)
      name.replace(at, wrapper.size(), ".");
  replace_prefix("model.language_model.", "language_model.model.");
  replace_prefix("model.vision_tower.", "vision_tower.");
  for (const std::string part :
       {"embeddings.", "pre_layrnorm.", "post_layernorm.", "encoder.", "head."})
    replace_prefix("vision_tower." + part, "vision_tower.vision_model." + part);  // transformers 5
  replace_prefix("model.multi_modal_projector.", "multi_modal_projector.");
  replace_prefix("model.image_newline", "image_newline");
  replace_prefix("lm_head.", "language_model.lm_head.");
  for (const std::string part : {"model.layers.", "model.embed_tokens.", "model.norm."})
    replace_prefix(part, "language_model." + part);  // a language model alone
  replace_prefix("language_model.base_model.model.", "language_model.");
  const std::pair<std::string_view, TensorPart> endings[] = {
      {".base_layer.weight", TensorPart::weight},
      {".lora_A.default.weight", TensorPart::lora_a},
      {".lora_A.weight", TensorPart::lora_a},
      {".lora_B.default.weight", TensorPart::lora_b},
      {".lora_B.weight", TensorPart::lora_b}};
  for (const auto& [ending, part] : endings)
    if (name.ends_with(ending))
      return {name.substr(0, name.size() - ending.size()) + ".weight", part};
  return {std::move(name), TensorPart::weight};
}

/// At most three of `names`, and the number of the others.
inline std::string some_of(const std::vector<std::string>& names) {
  constexpr std::size_t kNamed = 3;
  std::string text;
  for (std::size_t i = 0; i < std::min(kNamed, names.size()); ++i)
    text += (i == 0 ? "" : ", ") + names[i];
  if (names.size() > kNamed) text += ", and " + std::to_string(names.size() - kNamed) + " more";
  return text;
}

/// Throws LoadError if there are missing files of `count` shards.
inline void refuse_missing_shards(const std::filesystem::path& directory,
                                  const std::vector<std::string>& missing, std::size_t count) {
  if (missing.empty()) return;
  throw LoadError(
      "the download is incomplete: " + std::to_string(missing.size()) + " of " +
          std::to_string(count) + " shards are missing",
      {.file = directory.string(), .tensor = some_of(missing), .expected = {}, .got = {}});
}

/// The missing shards of "model-00001-of-00003.safetensors" and the like, if `name` is of that
/// form. `directory` has no index.
inline void refuse_incomplete_set(const std::filesystem::path& directory, const std::string& name) {
  constexpr std::string_view kPrefix = "model-", kOf = "-of-", kEnd = ".safetensors";
  constexpr std::size_t kDigits = 5;
  const auto is_number = [&](std::size_t at) {
    return name.find_first_not_of("0123456789", at) == at + kDigits;
  };
  const std::size_t first = kPrefix.size(), of = first + kDigits, total = of + kOf.size();
  if (name.size() != total + kDigits + kEnd.size() || !is_number(first) || !is_number(total) ||
      name.compare(of, kOf.size(), kOf) != 0)
    return;
  const std::size_t count = std::stoul(name.substr(total, kDigits));
  std::vector<std::string> missing;
  std::error_code error;
  for (std::size_t i = 1; i <= count; ++i) {
    const std::string number = std::to_string(i);
    std::string shard = name;
    shard.replace(first, kDigits, std::string(kDigits - number.size(), '0') + number);
    if (!std::filesystem::exists(directory / shard, error)) missing.push_back(std::move(shard));
  }
  refuse_missing_shards(directory, missing, count);
}

/// The shards that an index file names. Throws LoadError: a malformed index, a file outside the
/// directory, a tensor that its shard lacks.
inline std::vector<SafetensorsFile> open_indexed_shards(const std::filesystem::path& index_path) {
  const auto fail = [&](const std::string& problem, std::string tensor, std::string expected,
                        std::string got) {
    return LoadError(problem, {.file = index_path.string(),
                               .tensor = std::move(tensor),
                               .expected = std::move(expected),
                               .got = std::move(got)});
  };
  const JsonDocument index = read_json_object(index_path);
  const auto map = index.root.find("weight_map");
  if (map == index.root.end() || !map->is_object() || map->empty())
    throw fail("malformed index", "weight_map", "a map from tensor to file", {});
  std::map<std::string, std::vector<std::string>> shards;
  for (const auto& [tensor, file] : map->items()) {
    if (!file.is_string()) throw fail("malformed index", tensor, "a file name", file.type_name());
    const auto& name = file.get_ref<const std::string&>();
    if (name.empty() || name == "." || name == ".." ||
        name.find_first_of(std::string_view("/\\\0", 3)) != std::string::npos)
      throw fail("index names a file outside the directory", tensor,
                 "a file name without directories", name);
    shards[name].push_back(tensor);
  }
  const std::filesystem::path directory = index_path.parent_path();
  std::vector<std::string> missing;
  std::error_code error;
  for (const auto& [name, tensors] : shards)
    if (!std::filesystem::exists(directory / name, error)) missing.push_back(name);
  refuse_missing_shards(directory, missing, shards.size());
  std::vector<SafetensorsFile> files;
  for (const auto& [name, tensors] : shards) {
    files.push_back(SafetensorsFile::open(directory / name));
    for (const std::string& tensor : tensors)
      if (files.back().find(tensor) == nullptr)
        throw fail("index names a tensor that its file lacks", tensor, "it in " + name, {});
  }
  return files;
}

/// Whether a directory holds what PEFT's save_pretrained writes.
inline bool is_peft_adapter(const std::filesystem::path& directory) {
  std::error_code error;
  return std::filesystem::exists(directory / kAdapterConfig, error) &&
         std::filesystem::exists(directory / kAdapterWeights, error);
}

/// The safetensors files of a directory, with checked headers: PEFT's adapter, else the files that
/// the index names, else model-0*.safetensors, else model.safetensors. Throws LoadError.
inline std::vector<SafetensorsFile> open_shards(const std::filesystem::path& directory) {
  std::error_code error;
  if (is_peft_adapter(directory)) return {SafetensorsFile::open(directory / kAdapterWeights)};
  const auto index_path = directory / "model.safetensors.index.json";
  if (std::filesystem::exists(index_path, error)) return open_indexed_shards(index_path);
  std::set<std::filesystem::path> paths;
  for (const std::filesystem::path& path : list_directory(directory, error)) {
    const std::string name = path.filename().string();
    if (name.starts_with("model-0") && name.ends_with(".safetensors")) paths.insert(path);
  }
  if (error)
    throw LoadError("cannot be listed: " + error.message(),
                    {.file = directory.string(), .tensor = {}, .expected = {}, .got = {}});
  if (!paths.empty()) refuse_incomplete_set(directory, paths.begin()->filename().string());
  if (paths.empty()) {
    const bool is_adapter = std::filesystem::exists(directory / kAdapterConfig, error) &&
                            !std::filesystem::exists(directory / "model.safetensors", error);
    paths.insert(directory / (is_adapter ? kAdapterWeights : "model.safetensors"));
  }
  std::vector<SafetensorsFile> files;
  files.reserve(paths.size());
  for (const auto& path : paths) files.push_back(SafetensorsFile::open(path));
  return files;
}

}  // namespace pllava::detail
