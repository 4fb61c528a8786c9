// Bodies of checkpoint.hpp.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <system_error>
#include <utility>

#include "pllava/checkpoint/checkpoint.hpp"
#include "pllava/checkpoint/detail/checkpoint_source.hpp"
#include "pllava/checkpoint/detail/model_directory_inl.hpp"
#include "pllava/checkpoint/detail/quantization_json.hpp"
#include "pllava/io/detail/json_file.hpp"
#include "pllava/io/detail/json_reader.hpp"
#include "pllava/media/preprocess.hpp"
#include "pllava/weights/gguf.hpp"

namespace pllava {
namespace detail {

inline std::string joined(const std::vector<std::string>& list) {
  std::string text;
  for (const std::string& item : list) text += (text.empty() ? "" : ", ") + item;
  return text;
}

PLLAVA_INLINE Quantization read_quantization(const JsonReader& json) {
  Quantization q;
  const std::string format = json.text("format", "");
  const auto known = {WeightFormat::unquantized, WeightFormat::int8, WeightFormat::int4,
                      WeightFormat::fp8};
  const auto* const named = std::find_if(known.begin(), known.end(),
                                         [&](WeightFormat f) { return name_of(f) == format; });
  json.require("format", named != known.end(), "\"unquantized\", \"int8\", \"int4\" or \"fp8\"");
  q.format = *named;
  if (is_rotated(q))
    json.require("rotation", json.text("rotation", "") == kRotation,
                 "\"hadamard\"; directories of earlier versions have to be quantized again");
  if (q.format != WeightFormat::int4) return q;
  q.group = json.integer("group", q.group, 32, 128);
  json.require("group", q.group == 32 || q.group == 128, "32 or 128");
  q.zero_points = json.boolean("zero_points", false);
  return q;
}

/// The formats in which the matrices of a directory are stored.
PLLAVA_INLINE QuantizeOptions stored_formats(const std::filesystem::path& directory) {
  const std::filesystem::path path = directory / "config.json";
  const JsonDocument config = read_json_object(path);
  const JsonReader json(config.root, path.string());
  if (json.find(kFormatsKey) == nullptr) return {};
  const JsonReader formats = json.object(kFormatsKey);
  return {read_quantization(formats.object("vision")),
          read_quantization(formats.object("language"))};
}

}  // namespace detail

PLLAVA_INLINE std::vector<std::string> LoadReport::warnings() const {
  constexpr std::size_t kNamed = 3;
  const std::pair<const char*, const std::vector<std::string>*> lists[] = {
      {"missing", &missing},
      {"misshapen", &misshapen},
      {"of the wrong dtype", &wrong_dtype},
      {"unused", &unused}};
  std::vector<std::string> sentences;
  for (const auto& [state, list] : lists) {
    if (list->empty()) continue;
    const std::vector<std::string> named(
        list->begin(), list->begin() + static_cast<std::ptrdiff_t>(std::min(kNamed, list->size())));
    std::string text = std::to_string(list->size());
    text.append(list->size() == 1 ? " tensor is " : " tensors are ").append(state).append(": ");
    text += detail::joined(named);
    if (list->size() > kNamed) text += ", and " + std::to_string(list->size() - kNamed) + " more";
    sentences.push_back(std::move(text));
  }
  sentences.insert(sentences.end(), notes.begin(), notes.end());
  return sentences;
}

PLLAVA_INLINE std::string LoadReport::str() const {
  std::string text = std::to_string(tensors) + " tensors from " + std::to_string(files.size()) +
                     " file(s), " + std::to_string(ignored) + " ignored\n" +
                     std::to_string(parameters) + " parameters, " + std::to_string(bytes) +
                     " bytes:";
  for (const auto& [dtype, count] : dtypes) text += " " + std::to_string(count) + " " + dtype;
  text += "\n";
  if (lora_layers != 0) {
    std::string alpha = std::to_string(lora_alpha);
    alpha.erase(alpha.find_last_not_of('0') + 1);
    if (alpha.back() == '.') alpha.pop_back();
    text += "LoRA merged into " + std::to_string(lora_layers) + " tensors: rank " +
            std::to_string(lora_rank) + ", alpha " + alpha + " (" + lora_alpha_source + ")";
    if (lora_alpha_patterned != 0)
      text += ", another by alpha_pattern for " + std::to_string(lora_alpha_patterned);
    if (lora_rank_stabilized) text += ", scaled by alpha/sqrt(rank)";
    text += "\n";
  }
  const std::pair<const char*, const std::vector<std::string>*> lists[] = {
      {"missing", &missing},
      {"misshapen", &misshapen},
      {"wrong dtype", &wrong_dtype},
      {"unused", &unused}};
  for (const auto& [title, list] : lists)
    if (!list->empty())
      text += std::to_string(list->size()) + " " + title + ": " + detail::joined(*list) + "\n";
  for (const std::string& note : notes) text += note + "\n";
  return text;
}

PLLAVA_INLINE void Checkpoint::override_config(const LoadOptions& options) {
  if (options.frames) config_.frames = *options.frames;
  if (config_.pool.keeps_frames) config_.pool.output.t = config_.frames;
  if (options.pool) config_.pool.output = *options.pool;
}

PLLAVA_INLINE void Checkpoint::require_clean(const std::string& file, const char* description,
                                             const LoadOptions& options) const {
  if (!options.strict || report_.clean()) return;
  const auto part = [](const char* title, const std::vector<std::string>& list) {
    return list.empty() ? std::string() : std::string(title) + detail::joined(list) + "; ";
  };
  std::string all = part("missing: ", report_.missing) + part("misshapen: ", report_.misshapen) +
                    part("wrong dtype: ", report_.wrong_dtype) + part("unused: ", report_.unused);
  all.resize(all.size() - 2);
  throw LoadError(std::string("tensors do not match ") + description,
                  {.file = file, .tensor = std::move(all), .expected = {}, .got = {}});
}

PLLAVA_INLINE Checkpoint Checkpoint::open(const std::filesystem::path& model,
                                          const LoadOptions& options) {
  if (options.lora_alpha && (!std::isfinite(*options.lora_alpha) || *options.lora_alpha < 0))
    throw ArgumentError("lora_alpha must be finite and not negative");
  if (options.frames && *options.frames < 1) throw ArgumentError("frames must be positive");
  if (options.pool && (options.pool->t < 1 || options.pool->h < 1 || options.pool->w < 1))
    throw ArgumentError("pool must be positive along every axis, got " + options.pool->str());
  require_valid(options.quantize.vision);
  require_valid(options.quantize.language);
  return is_gguf(model) ? open_gguf(model, options) : open_directory(model, options);
}

PLLAVA_INLINE Checkpoint Checkpoint::open_directory(const std::filesystem::path& given,
                                                    const LoadOptions& options) {
  Checkpoint checkpoint;
  std::error_code error;
  if (!options.mmproj.empty())
    throw ArgumentError("mmproj needs a model that is a GGUF file, and " + given.string() +
                        " is a directory");
  const std::filesystem::path directory = model_directory(given, options);
  const std::filesystem::path base = detail::base_directory(options);
  const auto& home = detail::place_of("config.json", directory, base);
  checkpoint.config_ = read_model_config(home, options.architectures);
  checkpoint.tensors_ = model_tensors(checkpoint.config_, options.architectures);
  checkpoint.stored_ = detail::stored_formats(home);
  if (checkpoint.stored_.any() && options.quantize.any() && options.quantize != checkpoint.stored_)
    throw ArgumentError(home.string() + ": the weights are already quantized in another format");
  checkpoint.override_config(options);

  auto source = std::make_shared<detail::CheckpointSource>();
  if (!base.empty()) source->add(base);
  const bool is_adapter = detail::is_peft_adapter(directory);
  if (const std::string* lora = source->find_lora(); is_adapter && lora != nullptr)
    throw LoadError("an adapter cannot lie over a base with a LoRA",
                    {.file = directory.string(),
                     .tensor = *lora,
                     .expected = "a base into which its LoRA is merged",
                     .got = {}});
  source->add(directory);
  if (!base.empty() && !is_adapter)
    checkpoint.config_.conversation_template.clear();  // trained by PLLaVA
  LoadReport& report = checkpoint.report_;
  detail::LoraScaling scaling{.alpha = options.lora_alpha, .adapter = {}};
  const std::filesystem::path adapter_path = directory / detail::kAdapterConfig;
  if (is_adapter ||  // a file that a merge left is not read
      (source->find_lora() != nullptr && std::filesystem::exists(adapter_path, error)))
    scaling.adapter = detail::read_adapter_config(adapter_path);
  source->check(checkpoint.tensors_, checkpoint.stored_, std::move(scaling), report);
  report.notes.insert(report.notes.end(), checkpoint.config_.notes.begin(),
                      checkpoint.config_.notes.end());
  if (!PreprocessConfig::is_stored_in(directory) &&
      (base.empty() || !PreprocessConfig::is_stored_in(base)))
    report.notes.push_back(
        "there is no preprocessor_config.json: images are scaled and cropped to the " +
        std::to_string(checkpoint.config_.vision.image_size) +
        " pixels of config.json, and mean and deviation are those of CLIP");
  checkpoint.require_clean(directory.string(), "config.json", options);
  if (!base.empty()) checkpoint.adapted_ = source->changed_by_last();
  checkpoint.root_ = quantized(WeightScope(std::move(source)),
                               checkpoint.stored_.any() ? checkpoint.stored_ : options.quantize);
  return checkpoint;
}

}  // namespace pllava
