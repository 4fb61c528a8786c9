// The rotation of input channels, and its kernels.
#include "pllava/core/rotation.hpp"

#include <cmath>
#include <vector>

#include "support/catch.hpp"
#include "support/isas.hpp"
#include "support/tensors.hpp"

namespace {

using namespace pllava;

const std::vector<Index> kSizes = {1,  2,   3,   5,   15,  16,  17,   31,   32,
                                   33, 100, 384, 576, 577, 896, 1024, 4304, 11008};

double norm(const std::vector<float>& x) {
  double sum = 0;
  for (const float v : x) sum += double{v} * v;
  return std::sqrt(sum);
}

TEST_CASE("rotate keeps the norm, and rotate_back reverses it", "[rotation]") {
  for (const Index n : kSizes) {
    INFO(n << " channels");
    const auto x = test::uniform(n, 3);
    auto y = x;
    rotate(y);
    CHECK(std::fabs(norm(y) - norm(x)) <= 1e-5 * norm(x));
    if (n >= 16) CHECK(test::distance(y, x) > 0.5);
    rotate_back(y);
    CHECK(test::distance(y, x) < 1e-6);
  }
  rotate({});
  rotate_back({});
}

TEST_CASE("rotate leaves dot products unchanged", "[rotation]") {
  for (const Index n : kSizes) {
    auto a = test::uniform(n, 4), b = test::uniform(n, 5);
    const auto dot = [&] {
      double sum = 0;
      for (std::size_t i = 0; i < a.size(); ++i) sum += double{a[i]} * b[i];
      return sum;
    };
    const double before = dot();
    rotate(a);
    rotate(b);
    CHECK(std::fabs(dot() - before) < 1e-5 * norm(a) * norm(b));
  }
}

TEST_CASE("rotate spreads any one channel, and a constant, over all", "[rotation]") {
  for (const Index n : {64, 576, 1536, 4096, 4304, 11008}) {
    const auto largest = [](std::vector<float> x) {
      rotate(x);
      double max = 0;
      for (const float v : x) max = std::max(max, double{std::fabs(v)});
      return max / norm(x);
    };
    const double random = 1 / std::sqrt(static_cast<double>(n));
    for (const Index k : {Index{0}, n / 3, n / 2, n - 1}) {
      INFO(n << " channels, channel " << k);
      std::vector<float> x(static_cast<std::size_t>(n));
      x[static_cast<std::size_t>(k)] = 1;
      CHECK(largest(x) < 6 * random);
    }
    CHECK(largest(std::vector<float>(static_cast<std::size_t>(n), 1.0f)) < 6 * random);
  }
}

TEST_CASE("The kernels rotate as pllava::rotate, bit for bit", "[rotation]") {
  for (const cpu::Isa isa : test::supported_isas())
    for (const Index n : kSizes) {
      INFO(cpu::kernels(isa).name << ", " << n << " channels");
      auto x = test::uniform(n, 6), expected = x;
      cpu::kernels(isa).rotate(x.data(), n);
      rotate(expected);
      CHECK(x == expected);
    }
}

TEST_CASE("A large channel hardly changes the error of int8 products", "[rotation]") {
  constexpr Index kOut = 40, kIn = 576;
  const auto error = [&](float spike) {
    auto x = test::uniform(kIn, 7);
    x[100] *= spike;
    const auto w = test::uniform(kOut * kIn, 8);
    const HostTensor matrix{DType::f32,
                            {kOut, kIn},
                            reinterpret_cast<const std::byte*>(w.data()),
                            nullptr,
                            {.format = WeightFormat::int8}};
    cpu::Backend be({.dtype = DType::f32, .threads = 1});
    const Linear<cpu::Weight> linear{be.prepare({&matrix, 1}, WeightRole::linear), {}, kOut, kIn};
    Tensor<cpu::Backend> y(be, {1, kOut}, DType::f32);
    ops::linear(be, y.view(), test::tensor(be, x, {1, kIn}, DType::f32).view(), linear);
    std::vector<float> expected;
    for (Index o = 0; o < kOut; ++o) {
      double sum = 0;
      for (Index k = 0; k < kIn; ++k)
        sum += double{x[static_cast<std::size_t>(k)]} * w[static_cast<std::size_t>(o * kIn + k)];
      expected.push_back(static_cast<float>(sum));
    }
    return test::distance(detail::to_floats(be, y), expected);
  };
  CHECK(error(1) < 0.012);
  CHECK(error(1000) < 0.012);
}

}  // namespace
