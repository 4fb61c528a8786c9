// Eigen on the library's memory, and as an oracle that we did not write.
#include "pllava/eigen.hpp"

#include "pllava/pllava.hpp"
#include "support/catch.hpp"
#include "support/tensors.hpp"

namespace {

using namespace pllava;
using B = cpu::Backend;

TEST_CASE("A map reads and writes the view's memory", "[eigen]") {
  B be({.threads = 1});
  Tensor<B> t = test::tensor(be, {1, 2, 3, 4, 5, 6}, {3, 2}, DType::f32);
  EigenMap m = as_eigen(t);
  CHECK(m.rows() == 3);
  CHECK(m(2, 0) == 5);
  m(0, 1) = 20;
  CHECK(t.view().as<float>()[1] == 20);
  CHECK(as_eigen(t.view().slice(1, 1)).sum() == 7);
  Tensor<B> half(be, {2, 2}, DType::bf16);
  CHECK_THROWS_AS(as_eigen(half), ShapeError);
}

TEST_CASE("linear is Eigen's product", "[eigen]") {
  B be({.threads = 2});
  const Shape shape{70, 45};
  Tensor<B> w = test::tensor(be, test::uniform(shape.count(), 1), shape, DType::f32);
  Tensor<B> x = test::tensor(be, test::uniform(31 * 45, 2), {31, 45}, DType::f32);
  Tensor<B> y(be, {31, 70}, DType::f32);
  const Linear<typename B::Weight> linear{
      test::weight(be, test::uniform(shape.count(), 1), shape, WeightRole::linear), {}, 70, 45};
  ops::linear(be, y.view(), x.view(), linear);
  const Eigen::MatrixXf expected = as_eigen(x) * as_eigen(w).transpose();
  CHECK((as_eigen(y) - expected).norm() < 1e-6f * expected.norm());
}

}  // namespace
