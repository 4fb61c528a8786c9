// Checkpoint::open for GGUF files.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <utility>

#include "pllava/checkpoint/checkpoint.hpp"
#include "pllava/checkpoint/detail/gguf_config.hpp"
#include "pllava/checkpoint/detail/gguf_source.hpp"
#include "pllava/checkpoint/detail/gguf_tokenizer.hpp"
#include "pllava/io/detail/stand_in.hpp"
#include "pllava/models/detail/find_architecture.hpp"
#include "pllava/models/detail/llava_template_key.hpp"
#include "pllava/weights/gguf.hpp"

namespace pllava {
namespace detail {

/// The architecture of a language model's file, with a vision tower or without. Throws LoadError if
/// none of the list accepts it.
inline const ArchitectureInfo& gguf_architecture_info(const GgufKeys& keys,
                                                      const std::string& model_type,
                                                      std::span<const ArchitectureInfo> list) {
  if (const ArchitectureInfo* info = find_architecture(list, model_type)) return *info;
  const auto fail = [&](const char* problem, std::string expected) {
    return LoadError(problem, {.file = keys.file().path(),
                               .tensor = "general.architecture",
                               .expected = std::move(expected),
                               .got = {}});
  };
  if (find_architecture(list, "llava") != nullptr)
    throw fail("is a language model without a vision tower, and needs --mmproj",
               "the GGUF file of the vision tower and projector as --mmproj "
               "(LoadOptions::mmproj)");
  throw fail("is not one of the architectures that are loaded", accepted_model_types(list));
}

}  // namespace detail

PLLAVA_INLINE Checkpoint Checkpoint::open_gguf(const std::filesystem::path& file,
                                               const LoadOptions& options) {
  if (!options.base.empty())
    throw ArgumentError("a base needs a model that is a directory, and " + file.string() +
                        " is a GGUF file");
  detail::refuse_stand_in(file);
  detail::GgufKeys text(GgufFile::open(file));
  const std::string architecture = detail::gguf_text_architecture(text);
  const bool has_vision = !options.mmproj.empty();
  const std::string model_type = has_vision ? "llava" : architecture;
  const ArchitectureInfo& info =
      detail::gguf_architecture_info(text, model_type, options.architectures);

  Checkpoint checkpoint;
  ModelConfig& config = checkpoint.config_;
  config.model_type = model_type;
  config.text = detail::read_gguf_text(text, architecture);
  detail::read_gguf_special_tokens(text, config);
  checkpoint.chat_template_ = text.text_or("tokenizer.chat_template", "");
  auto source = std::make_shared<detail::GgufSource>();
  source->add_text(text.file(), config.text, architecture);
  if (has_vision) {
    detail::refuse_stand_in(options.mmproj);
    detail::GgufKeys vision(GgufFile::open(options.mmproj));
    detail::require_llava_projector(vision);
    config.vision = detail::read_gguf_vision(vision);
    detail::read_gguf_preprocess(vision);  // to notice its faults, and that its keys are known
    detail::refuse_unread_clip_keys(vision);
    config.projector = {.input = config.vision.width, .output = config.text.width};
    source->add_vision(vision.file(), config.vision);
    // llama.cpp's architecture "llama" is also Mistral; its chat template tells.
    const bool is_mistral = checkpoint.chat_template_.find("[INST]") != std::string::npos;
    config.conversation_template = detail::llava_template_key(
        model_type, is_mistral ? "mistral" : architecture, config.text.vocab);
  }
  checkpoint.override_config(options);
  checkpoint.tensors_ = info.tensors(config);
  source->check(checkpoint.tensors_, checkpoint.report_);
  const std::string pre = text.text_or("tokenizer.ggml.pre", "default");
  if (text.text_or("tokenizer.ggml.model", "") == "gpt2" && pre == "default")
    checkpoint.report_.notes.push_back(
        "tokenizer.ggml.pre does not tell how the tokenizer splits words: they are split as for "
        "GPT-2");
  checkpoint.require_clean(file.string(), "the metadata", options);
  checkpoint.root_ = quantized(WeightScope(std::move(source)), options.quantize);
  return checkpoint;
}

}  // namespace pllava
