// Projecting and pooling in either order.
#include "pllava/models/projector.hpp"

#include "pllava/pllava.hpp"
#include "pllava/reference/backend.hpp"
#include "support/catch.hpp"
#include "support/tensors.hpp"

namespace {

using namespace pllava;

constexpr Grid kIn{4, 6, 6};
const ProjectorConfig kConfig{.input = 24, .output = 40};

/// Distance between pooling before linear_2 (what the call does) and after it.
template <Backend B>
double distance_of_orders(B be, const PoolConfig& config) {
  const Projector<B> project(be, kConfig, RandomWeights::scope(5)["multi_modal_projector"]);
  const TemporalPool pool(config);
  auto x = test::tensor(be, test::uniform(kIn.count() * 24, 1), {kIn.count(), 24},
                        be.activation_dtype());
  const auto plain = detail::to_floats(be, pool(be, project(be, x), kIn));
  const auto reordered = detail::to_floats(be, project(be, x, pool, kIn));
  REQUIRE(plain.size() == static_cast<std::size_t>(config.output.count() * 40));
  return test::distance(reordered, plain);
}

TEST_CASE("Average pooling before linear_2 equals pooling after it", "[projector]") {
  for (const Grid& out :
       {Grid{4, 3, 3}, Grid{1, 1, 1}, Grid{2, 6, 6}, Grid{3, 4, 5}, Grid{8, 7, 6}}) {
    INFO(out.str());
    CHECK(distance_of_orders(cpu::Backend({.threads = 2}), {.output = out}) < 2e-6);
    CHECK(distance_of_orders(reference::Backend(), {.output = out}) < 2e-6);
    CHECK(distance_of_orders(cpu::Backend({.dtype = DType::bf16, .threads = 2}), {.output = out}) <
          8e-3);
  }
}

TEST_CASE("Maximum pooling does not commute and runs after linear_2", "[projector]") {
  const PoolConfig maximum{.output = {2, 3, 3}, .kind = PoolKind::maximum};
  CHECK_FALSE(TemporalPool(maximum).commutes_with_linear());
  CHECK(distance_of_orders(cpu::Backend({.threads = 2}), maximum) == 0);
}

TEST_CASE("hidden followed by output equals the whole projector", "[projector]") {
  using B = reference::Backend;
  B be;
  const Projector<B> project(be, kConfig, RandomWeights::scope(5)["multi_modal_projector"]);
  auto x = test::tensor(be, test::uniform(3 * 24, 1), {3, 24}, DType::f32);
  Tensor<B> hidden = project.hidden(be, x);
  CHECK(hidden.shape() == Shape{3, 40});
  CHECK(detail::to_floats(be, project.output(be, hidden)) == detail::to_floats(be, project(be, x)));
  Tensor<B> wrong(be, {3, 25}, DType::f32);
  CHECK_THROWS_AS(project(be, wrong), ShapeError);
}

}  // namespace
