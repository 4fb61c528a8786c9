// Checkpoints of a language model alone.
#pragma once

#include <span>

#include "pllava/models/architecture.hpp"

namespace pllava {

/// LLaMA, Mistral and Qwen2 without a vision tower, as transformers saves them:
///
///     const auto checkpoint =
///         Checkpoint::open(directory, {.architectures = text_architectures()});
///     const LanguageModel<B> model(be, checkpoint.config().text, checkpoint["language_model"]);
///
/// Their weights have the names of "language_model". The other parts of ModelConfig are unused.
std::span<const ArchitectureInfo> text_architectures() noexcept;

}  // namespace pllava

#ifndef PLLAVA_COMPILED
#include "pllava/models/detail/text_architecture_inl.hpp"
#endif
