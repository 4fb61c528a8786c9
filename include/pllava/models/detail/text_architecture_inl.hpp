// Bodies of models/text_architecture.hpp.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "pllava/io/detail/json_file.hpp"
#include "pllava/io/detail/json_reader.hpp"
#include "pllava/models/detail/special_tokens.hpp"
#include "pllava/models/detail/text_config.hpp"
#include "pllava/models/text_architecture.hpp"

namespace pllava {
namespace detail {

inline bool is_decoder_alone(std::string_view model_type) {
  for (const DecoderKind& kind : kDecoderKinds)
    if (kind.model_type == model_type) return true;
  return false;
}

inline ModelConfig read_decoder_alone(const std::filesystem::path& directory) {
  const std::filesystem::path path = directory / "config.json";
  const JsonDocument config = read_json_object(path);
  const JsonReader json(config.root, path.string());
  ModelConfig m;
  m.text = read_text(json);
  read_special_tokens(m, directory, {&json});
  return m;
}

inline TensorTable decoder_alone_tensors(const ModelConfig& config) {
  TensorTable table;
  table.add("language_model", language_tensors(config.text));
  return table;
}

}  // namespace detail

PLLAVA_INLINE std::span<const ArchitectureInfo> text_architectures() noexcept {
  static constexpr ArchitectureInfo kInfo = {
      detail::is_decoder_alone, R"("llama", "mistral" or "qwen2")", detail::read_decoder_alone,
      detail::decoder_alone_tensors};
  return {&kInfo, 1};
}

}  // namespace pllava
