// A checkpoint directory of random weights, for tests and demos without the published ones.
#pragma once

#include <cstdint>
#include <filesystem>

#include "pllava/core/dtype.hpp"
#include "pllava/models/model_config.hpp"

namespace pllava {

/// Writes a checkpoint of random weights in llava-hf naming: config.json, generation_config.json,
/// preprocessor_config.json, model.safetensors. Creates the directory. Throws FileError if it
/// cannot be written, ArgumentError for a dtype that is not floating and for a configuration that
/// PLLaVA's config.json cannot hold: another model_type than
/// "llava" and "pllava", another decoder than LLaMA, a projector that pools first, no
/// end-of-sequence token.
void write_random_checkpoint(const std::filesystem::path& directory, const ModelConfig& config,
                             std::uint64_t seed = 0, DType dtype = DType::bf16);

}  // namespace pllava

#ifndef PLLAVA_COMPILED
#include "pllava/checkpoint/detail/random_checkpoint_inl.hpp"
#endif
