// adapter_config.json of PEFT: which LoRA it describes, and how the factors are scaled.
#pragma once

#include <array>
#include <cmath>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "pllava/io/detail/json_file.hpp"
#include "pllava/io/detail/json_reader.hpp"

namespace pllava::detail {

inline constexpr const char* kAdapterConfig = "adapter_config.json";
inline constexpr const char* kAdapterWeights = "adapter_model.safetensors";
/// The prefix that PEFT writes before the names of the base model's modules.
inline constexpr std::string_view kPeftPrefix = "base_model.model.";

inline constexpr double kMaxScaling = 1 << 24;  // of alpha and r

/// Keys of rank_pattern or alpha_pattern with their values, in the order in which PEFT, which
/// writes sorted keys, tries them.
using ModulePattern = std::map<std::string, double>;

struct AdapterConfig {
  Index rank = 8;  // this and the next are PEFT's defaults
  double alpha = 8;
  bool is_rank_stabilized = false;  // scale alpha/sqrt(r) in place of alpha/r
  bool ensures_tying = false;       // new embeddings are lm_head as well, if the base ties both
  ModulePattern rank_pattern, alpha_pattern;
  std::vector<std::string> modules_to_save;
};

/// The module of a LoRA factor, as PEFT matches it: "base_model.model.a.q_proj.lora_A.weight" is of
/// "a.q_proj".
inline std::string_view adapted_module(std::string_view tensor) {
  if (tensor.starts_with(kPeftPrefix)) tensor.remove_prefix(kPeftPrefix.size());
  return tensor.substr(0, tensor.rfind(".lora_"));
}

/// Whether `module` is `key` or ends with "." and `key`. A point of `key` stands for any character,
/// as in PEFT, where keys are regular expressions; "^" at the begin of `key` excludes a longer
/// name.
inline bool matches_module(std::string_view key, std::string_view module) {
  const bool is_whole = key.starts_with('^');
  if (is_whole) key.remove_prefix(1);
  if (key.size() > module.size()) return false;
  const std::size_t begin = module.size() - key.size();
  if (begin != 0 && (is_whole || module[begin - 1] != '.')) return false;
  for (std::size_t i = 0; i < key.size(); ++i)
    if (key[i] != '.' && key[i] != module[begin + i]) return false;
  return true;
}

/// The value of the first key that matches `module`, or nullptr.
inline const double* find_module(const ModulePattern& pattern, std::string_view module) {
  for (const auto& [key, value] : pattern)
    if (matches_module(key, module)) return &value;
  return nullptr;
}

/// Reads rank_pattern or alpha_pattern.
inline ModulePattern read_pattern(const JsonReader& json, const char* key, double lowest) {
  constexpr std::string_view kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
  ModulePattern pattern;
  const nlohmann::json* map = json.find(key);
  if (map == nullptr) return pattern;
  json.require(key, map->is_object(), "a map from module to number");
  for (const auto& [module, value] : map->items()) {
    const std::size_t begin = module.starts_with('^') ? 1 : 0;
    json.require(
        key, module.size() > begin && module.find_first_not_of(kPlain, begin) == std::string::npos,
        "names of modules, not the regular expression \"" + module + '"');
    const double number = value.is_number() ? value.get<double>() : -1;
    json.require(
        key, number >= lowest && number <= kMaxScaling,
        "a number from " + std::to_string(static_cast<int>(lowest)) + " to 2^24 for " + module);
    pattern.emplace(module, number);
  }
  return pattern;
}

/// Whether a value selects no feature: null, false, 0, "", [] or {}.
inline bool is_off(const nlohmann::json& value) {
  return value.is_null() || (value.is_boolean() && !value.get<bool>()) ||
         (value.is_number() && value.get<double>() == 0) ||
         (value.is_string() && value.get_ref<const std::string&>().empty()) ||
         (value.is_structured() && value.empty());
}

/// Reads adapter_config.json. A member that may change the result and is not supported here is
/// refused by name; members that only matter for training or for the choice of modules are not
/// read. Throws LoadError.
inline AdapterConfig read_adapter_config(const std::filesystem::path& path) {
  const JsonDocument document = read_json_object(path);
  const JsonReader json(document.root, path.string());
  const std::string type = json.text("peft_type", "LORA");
  json.require("peft_type", type == "LORA", "\"LORA\"");
  json.require("bias", json.text("bias", "none") == "none", "\"none\"");
  if (const nlohmann::json* init = json.find("init_lora_weights")) {
    // Other forms change the weights of the base, which are not in the adapter's files.
    const bool keeps_base =
        init->is_boolean() || *init == "gaussian" || *init == "eva" || *init == "orthogonal";
    json.require("init_lora_weights", keeps_base,
                 "an initialization that keeps the base's weights; PEFT converts others with "
                 "save_pretrained(path_initial_model_for_weight_conversion=...)");
  }
  constexpr std::array kRead = {"peft_type",         "bias",
                                "init_lora_weights", "r",
                                "lora_alpha",        "use_rslora",
                                "rank_pattern",      "alpha_pattern",
                                "modules_to_save",   "ensure_weight_tying"};
  constexpr std::array kWithoutEffect = {"auto_mapping",        "base_model_name_or_path",
                                         "eva_config",          "exclude_modules",
                                         "inference_mode",      "layers_pattern",
                                         "layers_to_transform", "lora_dropout",
                                         "megatron_core",       "peft_version",
                                         "qalora_group_size",   "revision",
                                         "target_modules",      "task_type",
                                         "velora_config"};
  const auto is_in = [](const auto& names, const std::string& key) {
    for (const char* name : names)
      if (key == name) return true;
    return false;
  };
  for (const auto& [key, value] : document.root.items())
    json.require(key.c_str(), is_in(kRead, key) || is_in(kWithoutEffect, key) || is_off(value),
                 "null or false, as this option is not supported");

  AdapterConfig config;
  config.rank = json.size("r", 8);
  if (const nlohmann::json* alpha = json.find("lora_alpha")) {
    config.alpha = alpha->is_number() ? alpha->get<double>() : -1;
    json.require("lora_alpha", config.alpha >= 0 && config.alpha <= kMaxScaling,
                 "a number from 0 to 2^24");
  }
  config.is_rank_stabilized = json.boolean("use_rslora", false);
  config.ensures_tying = json.boolean("ensure_weight_tying", false);
  config.rank_pattern = read_pattern(json, "rank_pattern", 1);
  config.alpha_pattern = read_pattern(json, "alpha_pattern", 0);
  if (const nlohmann::json* modules = json.find("modules_to_save")) {
    json.require("modules_to_save", modules->is_array(), "a list of modules");
    for (const nlohmann::json& module : *modules) {
      json.require("modules_to_save", module.is_string(), "a list of modules");
      config.modules_to_save.push_back(module.get<std::string>());
    }
  }
  return config;
}

/// How the factors A and B of a LoRA are scaled.
struct LoraScaling {
  std::optional<double> alpha;           ///< replaces lora_alpha and alpha_pattern of the file
  std::optional<AdapterConfig> adapter;  ///< of the directory's adapter_config.json, if it has one

  /// The alpha of all layers without one of their own.
  double common_alpha() const { return alpha.value_or(adapter ? adapter->alpha : kDefaultAlpha); }
  /// The alpha of a layer. `tensor` is the name of its factor A in the file.
  double alpha_of(std::string_view tensor) const {
    if (alpha || !adapter) return common_alpha();
    const double* own = find_module(adapter->alpha_pattern, adapted_module(tensor));
    return own != nullptr ? *own : adapter->alpha;
  }
  /// The factor of B·A of rank `rank`.
  double scale(std::string_view tensor, double rank) const {
    const bool stabilized = adapter && adapter->is_rank_stabilized;
    return alpha_of(tensor) / (stabilized ? std::sqrt(rank) : rank);
  }
  /// The rank that adapter_config.json gives, or `rank` without one.
  Index rank_of(std::string_view tensor, Index rank) const {
    if (!adapter) return rank;
    const double* own = find_module(adapter->rank_pattern, adapted_module(tensor));
    return own != nullptr ? static_cast<Index>(*own) : adapter->rank;
  }

  static constexpr double kDefaultAlpha = 4;
};

}  // namespace pllava::detail
