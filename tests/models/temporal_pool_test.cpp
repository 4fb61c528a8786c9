// Adaptive pooling, by hand.
#include "pllava/models/temporal_pool.hpp"

#include "pllava/pllava.hpp"
#include "pllava/reference/backend.hpp"
#include "support/catch.hpp"
#include "support/tensors.hpp"

namespace {

using namespace pllava;

/// Pools one channel whose value is its position t·100 + h·10 + w.
std::vector<float> pooled(const Grid& in, const Grid& out, PoolKind kind = PoolKind::average) {
  using B = cpu::Backend;
  B be({.threads = 1});
  std::vector<float> values;
  for (Index t = 0; t < in.t; ++t)
    for (Index h = 0; h < in.h; ++h)
      for (Index w = 0; w < in.w; ++w) values.push_back(static_cast<float>(t * 100 + h * 10 + w));
  auto x = test::tensor(be, values, {in.count(), 1}, DType::f32);
  return detail::to_floats(be, TemporalPool({.output = out, .kind = kind})(be, x, in));
}

TEST_CASE("Windows of two by two are means and keep the frames", "[temporal_pool]") {
  CHECK(pooled({2, 4, 4}, {2, 2, 2}) ==
        std::vector<float>{5.5, 7.5, 25.5, 27.5, 105.5, 107.5, 125.5, 127.5});
}

TEST_CASE("Uneven windows overlap from floor to ceiling", "[temporal_pool]") {
  // 5 to 3: [0,2) [1,4) [3,5)
  CHECK(pooled({1, 1, 5}, {1, 1, 3}) == std::vector<float>{0.5, 2, 3.5});
  // 2 to 3, finer than the input: [0,1) [0,2) [1,2)
  CHECK(pooled({2, 1, 1}, {3, 1, 1}) == std::vector<float>{0, 50, 100});
}

TEST_CASE("Maximum pooling takes maxima", "[temporal_pool]") {
  CHECK(pooled({2, 2, 2}, {1, 1, 2}, PoolKind::maximum) == std::vector<float>{110, 111});
}

TEST_CASE("Bilinear pooling equals PyTorch's interpolate", "[temporal_pool]") {
  // torch.nn.functional.interpolate(torch.tensor([[[0., 1, 2, 3, 4]]]), 3, mode="linear"), and so
  // on
  CHECK(pooled({1, 1, 5}, {1, 1, 3}, PoolKind::bilinear) ==
        std::vector<float>{1.0f / 3, 2, 11.0f / 3});
  CHECK(pooled({1, 2, 1}, {1, 4, 1}, PoolKind::bilinear) == std::vector<float>{0, 2.5, 7.5, 10});
  CHECK(pooled({1, 3, 3}, {1, 2, 2}, PoolKind::bilinear) ==
        std::vector<float>{2.75, 4.25, 17.75, 19.25});
  CHECK(pooled({1, 3, 4}, {1, 3, 4}, PoolKind::bilinear) == pooled({1, 3, 4}, {1, 3, 4}));
  // Frames are averaged, as with the other kinds.
  CHECK(pooled({4, 1, 1}, {2, 1, 1}, PoolKind::bilinear) == std::vector<float>{50, 250});
  CHECK(pooled({16, 27, 27}, {16, 14, 14}, PoolKind::bilinear).size() == 16 * 196);
}

TEST_CASE("The published shape turns 16x24x24 into 2,304 rows", "[temporal_pool]") {
  CHECK(pooled({16, 24, 24}, PoolConfig{}.output).size() == 2304);
}

TEST_CASE("A grid that does not match the rows is refused", "[temporal_pool]") {
  using B = reference::Backend;
  B be;
  Tensor<B> x(be, {12, 3}, DType::f32);
  CHECK_THROWS_AS(TemporalPool({.output = {1, 1, 1}})(be, x.view(), Grid{1, 3, 5}), ShapeError);
}

}  // namespace
