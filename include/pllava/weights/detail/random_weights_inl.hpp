// Bodies of weights/random_weights.hpp.
#pragma once

#include <algorithm>
#include <cmath>
#include <new>

#include "pllava/error.hpp"
#include "pllava/weights/random_weights.hpp"

namespace pllava {
namespace detail {

/// The finalizer of splitmix64, a bijective hash of 64-bit integers.
constexpr std::uint64_t mix(std::uint64_t x) noexcept {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

inline float std_of(const TensorSpec& spec) {
  switch (spec.initializer) {
    case Initializer::bias: return 0.02f;
    case Initializer::embedding: return 0.1f;
    case Initializer::matrix:
    case Initializer::ones: break;
  }
  const Index fan_in = spec.shape.count() / std::max<Index>(spec.shape[0], 1);
  return 1.0f / std::sqrt(static_cast<float>(std::max<Index>(fan_in, 1)));
}

/// RandomWeights as a WeightSource. RandomWeights itself is a value without virtual functions.
class RandomSource final : public WeightSource {
 public:
  explicit RandomSource(const RandomWeights& weights) : weights_(weights) {}
  HostTensor tensor(const TensorSpec& spec) const override { return weights_.tensor(spec); }
  bool contains(const std::string&) const override { return true; }

 private:
  RandomWeights weights_;
};

}  // namespace detail

PLLAVA_INLINE WeightScope RandomWeights::scope(std::uint64_t seed, DType dtype) {
  return WeightScope(std::make_shared<const detail::RandomSource>(RandomWeights(seed, dtype)));
}

PLLAVA_INLINE RandomWeights::RandomWeights(std::uint64_t seed, DType dtype)
    : seed_(seed), dtype_(dtype) {
  if (!is_floating(dtype))
    throw ArgumentError("RandomWeights: expected a floating type, got " +
                        std::string(name_of(dtype)));
}

PLLAVA_INLINE HostTensor RandomWeights::tensor(const TensorSpec& spec) const {
  const Index n = spec.shape.count();
  const auto bytes = static_cast<std::size_t>(n * size_of(dtype_));
  std::shared_ptr<std::byte[]> data;
  try {
    data.reset(new std::byte[bytes]);
  } catch (const std::bad_alloc&) {
    throw OutOfMemoryError("random tensor " + spec.name, bytes);
  }
  std::uint64_t key = 14695981039346656037u;  // FNV-1a of the name
  for (const char c : spec.name) key = (key ^ static_cast<unsigned char>(c)) * 1099511628211u;
  key = detail::mix(key ^ detail::mix(seed_ + 0x9e3779b97f4a7c15u));
  const bool ones = spec.initializer == Initializer::ones;
  const float half_width = detail::std_of(spec) * std::sqrt(3.0f);
  const auto fill = [&]<class T>(T* out) {
    for (Index i = 0; i < n; ++i) {
      const std::uint64_t bits =
          detail::mix(key + static_cast<std::uint64_t>(i) * 0x9e3779b97f4a7c15u);
      const float unit = static_cast<float>(static_cast<std::int32_t>(bits >> 32)) * 0x1p-31f;
      out[i] = from_float<T>(ones ? 1.0f : unit * half_width);
    }
  };
  switch (dtype_) {
    case DType::bf16: fill(reinterpret_cast<bf16*>(data.get())); break;
    case DType::f16: fill(reinterpret_cast<f16*>(data.get())); break;
    default: fill(reinterpret_cast<float*>(data.get())); break;
  }
  return {dtype_, spec.shape, data.get(), data};
}

}  // namespace pllava
