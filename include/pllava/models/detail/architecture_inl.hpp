// Bodies of models/architecture.hpp, but for the configurations of the families.
#pragma once

#include <string>

#include "pllava/io/detail/json_file.hpp"
#include "pllava/io/detail/json_reader.hpp"
#include "pllava/models/architecture.hpp"
#include "pllava/models/detail/find_architecture.hpp"

namespace pllava {

PLLAVA_INLINE TensorTable Llava::tensors(const ModelConfig& config) {
  TensorTable table;
  table.add("vision_tower", vision_tensors(config.vision));
  table.add("multi_modal_projector", projector_tensors(config.projector));
  table.add({.name = "image_newline", .shape = {config.text.width}, .presence = Presence::unused});
  table.add("language_model", language_tensors(config.text));
  return table;
}

PLLAVA_INLINE ModelConfig read_model_config(const std::filesystem::path& directory,
                                            std::span<const ArchitectureInfo> architectures) {
  const std::filesystem::path path = directory / "config.json";
  const detail::JsonDocument config = detail::read_json_object(path);
  const detail::JsonReader json(config.root, path.string());
  const std::string type = json.text("model_type", "");
  const ArchitectureInfo* info = detail::find_architecture(architectures, type);
  json.require("model_type", info != nullptr, detail::accepted_model_types(architectures));
  ModelConfig m = info->read_config(directory);
  m.model_type = type;
  return m;
}

PLLAVA_INLINE TensorTable model_tensors(const ModelConfig& config,
                                        std::span<const ArchitectureInfo> architectures) {
  const ArchitectureInfo* info = detail::find_architecture(architectures, config.model_type);
  if (info == nullptr)
    throw LoadError("unknown architecture",
                    {.file = {},
                     .tensor = "model_type",
                     .expected = detail::accepted_model_types(architectures),
                     .got = '"' + config.model_type + '"'});
  return info->tensors(config);
}

}  // namespace pllava
