// Bodies of checkpoint/model_parts.hpp.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "pllava/checkpoint/detail/gguf_config.hpp"
#include "pllava/checkpoint/detail/gguf_tokenizer.hpp"
#include "pllava/checkpoint/detail/model_directory.hpp"
#include "pllava/checkpoint/model_parts.hpp"
#include "pllava/io/detail/stand_in.hpp"
#include "pllava/weights/gguf.hpp"
#include "pllava/weights/safetensors.hpp"

namespace pllava {

PLLAVA_INLINE Tokenizer read_tokenizer(const std::filesystem::path& model,
                                       const LoadOptions& options) {
  if (is_gguf(model)) {
    detail::refuse_stand_in(model);
    detail::GgufKeys keys(GgufFile::open(model));
    detail::gguf_text_architecture(keys);
    return Tokenizer(detail::gguf_tokenizer_parts(keys, !options.mmproj.empty()));
  }
  const std::filesystem::path directory = model_directory(model, options);
  return Tokenizer::from_directory(
      detail::place_of("tokenizer.json", directory, detail::base_directory(options)));
}

PLLAVA_INLINE std::optional<PreprocessConfig> read_preprocess(const std::filesystem::path& model,
                                                              const LoadOptions& options) {
  if (is_gguf(model)) {
    if (options.mmproj.empty()) return std::nullopt;
    detail::refuse_stand_in(options.mmproj);
    detail::GgufKeys keys(GgufFile::open(options.mmproj));
    detail::require_llava_projector(keys);
    return detail::read_gguf_preprocess(keys);
  }
  const std::filesystem::path directory = model_directory(model, options);
  const std::filesystem::path base = detail::base_directory(options);
  const bool is_own = base.empty() || PreprocessConfig::is_stored_in(directory);
  const std::filesystem::path& place = is_own ? directory : base;
  if (!PreprocessConfig::is_stored_in(place)) return std::nullopt;
  return PreprocessConfig::from_directory(place);
}

PLLAVA_INLINE std::uint64_t sampled_digest(const std::filesystem::path& weights) {
  return is_gguf(weights) ? GgufFile::open(weights).sampled_digest()
                          : SafetensorsFile::open(weights).sampled_digest();
}

}  // namespace pllava
