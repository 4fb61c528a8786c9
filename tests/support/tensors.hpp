// Test data on any backend, and the relative error of results.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "pllava/pllava.hpp"
#include "support/catch.hpp"

namespace test {

using pllava::Index;

/// Uniform random values in [-1, 1), a function of the seed. They are exact in bf16, so backends of
/// any type have equal inputs.
inline std::vector<float> uniform(Index n, std::uint64_t seed) {
  const pllava::HostTensor t =
      pllava::RandomWeights(seed, pllava::DType::bf16)
          .tensor({.name = "x.bias", .shape = {n}, .initializer = pllava::Initializer::bias});
  std::vector<float> v(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < v.size(); ++i)
    v[i] = 25 * pllava::load_float(t.data, t.dtype, static_cast<Index>(i));
  for (float& x : v) x = pllava::to_float(pllava::from_float<pllava::bf16>(x));
  return v;
}

/// `values` as a tensor in the backend's memory.
template <pllava::Backend B>
pllava::Tensor<B> tensor(B& be, const std::vector<float>& values, const pllava::Shape& shape,
                         pllava::DType dtype) {
  REQUIRE(static_cast<Index>(values.size()) == shape.count());
  std::vector<std::byte> raw(static_cast<std::size_t>(shape.count() * size_of(dtype)));
  for (std::size_t i = 0; i < values.size(); ++i)
    pllava::store_float(raw.data(), dtype, static_cast<Index>(i), values[i]);
  pllava::Tensor<B> t(be, shape, dtype);
  be.upload(t, raw.data());
  return t;
}

template <pllava::Backend B>
pllava::Tensor<B> ids(B& be, const std::vector<std::int32_t>& values) {
  pllava::Tensor<B> t(be, {static_cast<Index>(values.size())}, pllava::DType::i32);
  be.upload(t, values.data());
  return t;
}

/// `values` prepared as a weight.
template <pllava::Backend B>
typename B::Weight weight(B& be, const std::vector<float>& values, const pllava::Shape& shape,
                          pllava::WeightRole role) {
  const pllava::HostTensor host{pllava::DType::f32, shape,
                                reinterpret_cast<const std::byte*>(values.data()), nullptr};
  return be.prepare({&host, 1}, role);
}

/// |a - b| / |b| in the Euclidean norm; infinite if any value is not finite.
inline double distance(const std::vector<float>& a, const std::vector<float>& b) {
  REQUIRE(a.size() == b.size());
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference += (double{a[i]} - b[i]) * (double{a[i]} - b[i]);
    norm += double{b[i]} * b[i];
  }
  const double d = difference == 0 ? 0 : std::sqrt(difference / norm);
  return std::isfinite(d) ? d : HUGE_VAL;
}

}  // namespace test
