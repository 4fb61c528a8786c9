// What a model has beside its weights, from a directory or a GGUF file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

#include "pllava/checkpoint/checkpoint.hpp"
#include "pllava/media/preprocess.hpp"
#include "pllava/text/tokenizer.hpp"
#include "pllava/weights/gguf.hpp"

namespace pllava {

/// tokenizer.json of a directory, or of options.base if it has none; the vocabulary of a GGUF file.
/// With options.mmproj this gets the token kVideoToken, just past the others if it is not among
/// them. Throws LoadError.
Tokenizer read_tokenizer(const std::filesystem::path& model, const LoadOptions& options = {});

/// The constants of preprocessing that the directory, options.base or options.mmproj holds; nullopt
/// if none does. Throws LoadError.
std::optional<PreprocessConfig> read_preprocess(const std::filesystem::path& model,
                                                const LoadOptions& options = {});

/// A digest of a file of weights, safetensors or GGUF: its size, its header, and the first, middle
/// and last 4 KiB of each tensor. Throws LoadError.
std::uint64_t sampled_digest(const std::filesystem::path& weights);

}  // namespace pllava

#ifndef PLLAVA_COMPILED
#include "pllava/checkpoint/detail/model_parts_inl.hpp"
#endif
