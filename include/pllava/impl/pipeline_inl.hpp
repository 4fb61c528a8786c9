// Pipeline: what is loaded from where.
#pragma once

#include "pllava/pipeline.hpp"
#include "pllava/random_weights.hpp"
#include "pllava/tensor_table.hpp"

namespace pllava {

PLLAVA_INLINE Pipeline::Pipeline(std::shared_ptr<const Model> model, Tokenizer tokenizer,
                                 const PreprocessConfig& pixels)
    : model_(std::move(model)), tokenizer_(std::move(tokenizer)), pixels_(pixels) {
  if (pixels_.image_size != config().vision.image_size)
    throw LoadError(
        "picture size does not fit the vision tower",
        {"preprocessor_config.json", "crop_size", std::to_string(config().vision.image_size),
         std::to_string(pixels_.image_size)});
  const auto image = tokenizer_.id_of(kVideoToken);
  if (!image || *image != static_cast<std::int32_t>(config().image_token))
    throw LoadError(
        "tokenizer and model disagree about the image token",
        {"tokenizer.json", std::string(kVideoToken), std::to_string(config().image_token),
         image ? std::to_string(*image) : "no such token"});
}

PLLAVA_INLINE Pipeline::Directory Pipeline::Directory::open(const std::filesystem::path& directory,
                                                            const LoadOptions& options) {
  if (!std::filesystem::is_directory(directory))
    throw LoadError("no such directory", {directory.string(), {}, {}, {}});
  // Small files first: what is wrong with them should not cost the reading of the weights.
  Tokenizer tokenizer = Tokenizer::from_directory(directory);
  const PreprocessConfig pixels = PreprocessConfig::from_directory(directory);
  return {std::move(tokenizer), pixels, Checkpoint::open(directory, options)};
}

PLLAVA_INLINE Pipeline Pipeline::load(const std::filesystem::path& directory,
                                      const LoadOptions& options,
                                      const cpu::BackendOptions& backend,
                                      const RunControl& control) {
  Directory d = Directory::open(directory, options);
  cpu::BackendOptions chosen = backend;
  if (!chosen.dtype) chosen.dtype = d.checkpoint.report().dtype();
  return Pipeline(cpu::Backend(chosen), d, control);
}

PLLAVA_INLINE Pipeline Pipeline::random(const ModelConfig& config, std::uint64_t seed,
                                        const cpu::BackendOptions& backend,
                                        const RunControl& control) {
  return random(config, cpu::Backend(backend), seed, control);
}

PLLAVA_INLINE Session Pipeline::watch(const Clip& clip, const WatchOptions& options) const {
  return Session(model_, tokenizer_, pixels_, clip, options);
}

}  // namespace pllava
