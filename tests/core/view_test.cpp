// Shapes, views and tensors.
#include "pllava/core/view.hpp"

#include <type_traits>

#include "pllava/pllava.hpp"
#include "support/catch.hpp"

namespace {

using namespace pllava;

TEST_CASE("The count of a shape that no memory holds is limited", "[view]") {
  constexpr Index kLarge = Index{1} << 24;
  CHECK(Shape{kLarge, kLarge}.count() == kLarge * kLarge);
  CHECK(Shape{kLarge, kLarge, kLarge}.count() == kMaxCount);
  CHECK(Shape{kLarge, kLarge, kLarge, Index{0}}.count() == 0);
  CHECK(Grid{kLarge, kLarge, kLarge}.count() == kMaxCount);
  const Index bytes = Shape{kLarge, kLarge, kLarge}.count() * size_of(DType::f32);
  CHECK_THROWS_AS(cpu::Backend({.threads = 1}).allocate(bytes), OutOfMemoryError);
}

TEST_CASE("A shape counts its elements, compares and prints", "[view]") {
  CHECK(Shape{}.count() == 1);
  CHECK(Shape{}.str() == "()");
  CHECK(Shape{2, 3, 4}.count() == 24);
  CHECK(Shape{577, 1024}.str() == "(577, 1024)");
  CHECK(Shape{2, 0}.count() == 0);
  CHECK(Shape{2, 3} != Shape{3, 2});
  CHECK(std::is_constructible_v<Shape, int, int, int, int>);
  CHECK_FALSE(std::is_constructible_v<Shape, int, int, int, int, int>);  // maximum rank 4
  CHECK(Grid{16, 12, 12}.count() == 2304);
  CHECK(Grid{16, 12, 12}.str() == "16x12x12");
}

TEST_CASE("Slices and reshaped views share memory and check their range", "[view]") {
  float data[24] = {};
  const View v{data, DType::f32, {4, 2, 3}};
  CHECK(v.rows() == 8);
  CHECK(v.cols() == 3);
  CHECK(v.bytes() == 96);
  const View s = v.slice(2, 3);
  CHECK(s.shape == Shape{3, 3});
  CHECK(s.as<float>() == data + 6);
  CHECK(v.slice(8, 0).rows() == 0);
  CHECK_THROWS_AS(v.slice(6, 3), ShapeError);
  CHECK_THROWS_AS(v.slice(-1, 1), ShapeError);
  CHECK(v.reshaped({6, 4}).as<float>() == data);
  CHECK_THROWS_AS(v.reshaped({5, 5}), ShapeError);
}

TEST_CASE("Moving a tensor leaves it empty", "[view]") {
  cpu::Backend be({.threads = 1});
  Tensor<cpu::Backend> a(be, {2, 2}, DType::bf16);
  void* const memory = a.view().data;
  Tensor<cpu::Backend> b = std::move(a);
  CHECK(b.view().data == memory);
  CHECK(a.view().data == nullptr);  // NOLINT: the moved-from state is specified
  CHECK(b.view().bytes() == 8);
}

TEST_CASE("A failed allocation throws with its size", "[view]") {
  cpu::Backend be({.threads = 1});
  try {
    Tensor<cpu::Backend> t(be, {Index{1} << 45, Index{1} << 10}, DType::f32);
    FAIL("2^57 bytes were allocated");
  } catch (const OutOfMemoryError& e) {
    CHECK(e.bytes() >= std::uint64_t{1} << 57);
  }
  Tensor<cpu::Backend> small(be, {2}, DType::f32);
  CHECK(small.view().data != nullptr);
}

}  // namespace
