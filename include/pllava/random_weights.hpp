// Weights that need no file: reproducible random numbers, for tests, benchmarks and demos.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "pllava/model_config.hpp"
#include "pllava/weights.hpp"

namespace pllava {

/// Has every tensor anyone asks for. Values depend on seed, name and position alone: uniform with
/// standard deviation 1/sqrt(fan-in) for matrices, 1 for norm weights, small for biases.
/// Threads: immutable, safe to share.
class RandomWeights {
 public:
  /// Throws ArgumentError if `dtype` is not f32, f16 or bf16.
  explicit RandomWeights(std::uint64_t seed = 0, DType dtype = DType::f32);

  /// The root scope over random weights.
  static WeightScope scope(std::uint64_t seed = 0, DType dtype = DType::f32);

  /// Throws OutOfMemoryError.
  HostTensor tensor(const std::string& name, const Shape& shape) const;

 private:
  std::uint64_t seed_;
  DType dtype_;
};

/// Writes a checkpoint of random weights in llava-hf naming: config.json, generation_config.json,
/// preprocessor_config.json, model.safetensors. Creates the directory. Throws LoadError if it
/// cannot be written, ArgumentError for a dtype that is not floating.
void write_random_checkpoint(const std::filesystem::path& directory, const ModelConfig& config,
                             std::uint64_t seed = 0, DType dtype = DType::bf16);

}  // namespace pllava

#ifndef PLLAVA_COMPILED
#include "pllava/impl/random_weights_inl.hpp"
#endif
