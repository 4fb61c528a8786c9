// Reproducible random weights for tests, benchmarks and demos.
#pragma once

#include <cstdint>
#include <string>

#include "pllava/weights/weight_source.hpp"

namespace pllava {

/// Contains every tensor name. Values depend only on the seed, the name and the position; their
/// distribution is TensorSpec::initializer.
/// Threads: immutable, safe to share.
class RandomWeights {
 public:
  /// Throws ArgumentError if `dtype` is not f32, f16 or bf16.
  explicit RandomWeights(std::uint64_t seed = 0, DType dtype = DType::f32);

  /// The root scope of random weights.
  static WeightScope scope(std::uint64_t seed = 0, DType dtype = DType::f32);

  /// Throws OutOfMemoryError.
  HostTensor tensor(const TensorSpec& spec) const;
  /// The same with Initializer::matrix, or Initializer::embedding for a vector.
  HostTensor tensor(const std::string& name, const Shape& shape) const {
    return tensor(
        TensorSpec{.name = name,
                   .shape = shape,
                   .initializer = shape.rank() < 2 ? Initializer::embedding : Initializer::matrix});
  }

 private:
  std::uint64_t seed_;
  DType dtype_;
};

}  // namespace pllava

#ifndef PLLAVA_COMPILED
#include "pllava/weights/detail/random_weights_inl.hpp"
#endif
