// merge_lora against simple loops in double.
#include "pllava/weights/lora.hpp"

#include <limits>

#include "pllava/weights/random_weights.hpp"
#include "support/catch.hpp"
#include "support/checkpoint_writer.hpp"

using namespace pllava;

namespace {

HostTensor matrix(const std::string& name, const Shape& shape, DType dtype = DType::f32) {
  return RandomWeights(5, dtype).tensor(name, shape);
}

double at(const HostTensor& t, Index i) {
  return load_float(t.data, t.dtype, i);
}

}  // namespace

TEST_CASE("merge_lora is base + scale * B * A for all stored types", "[lora]") {
  const DType types[][3] = {{DType::f32, DType::f32, DType::f32},
                            {DType::bf16, DType::bf16, DType::bf16},
                            {DType::f16, DType::f32, DType::bf16}};
  // Sizes below, at and not at multiples of a tile, and rank 1.
  const Index sizes[][3] = {{5, 7, 3}, {513, 40, 8}, {256, 16, 1}};
  for (const auto& type : types)
    for (const auto& [out, in, rank] : sizes) {
      INFO(name_of(type[0]) << ", out " << out << ", in " << in << ", rank " << rank);
      const HostTensor base = matrix("base", {out, in}, type[0]);
      const HostTensor a = matrix("a", {rank, in}, type[1]);
      const HostTensor b = matrix("b", {out, rank}, type[2]);
      const HostTensor merged = merge_lora(base, a, b, 0.25f);
      REQUIRE(merged.dtype == DType::f32);
      REQUIRE(merged.shape == Shape{out, in});
      double max_error = 0, change = 0;
      for (Index o = 0; o < out; ++o)
        for (Index i = 0; i < in; ++i) {
          double y = at(base, o * in + i);
          for (Index r = 0; r < rank; ++r) y += 0.25 * at(b, o * rank + r) * at(a, r * in + i);
          max_error = std::max(max_error, std::abs(at(merged, o * in + i) - y));
          change = std::max(change, std::abs(at(base, o * in + i) - y));
        }
      CHECK(max_error < 1e-6);
      CHECK(change > 1e-3);  // the test would detect a missing B * A
    }
}

TEST_CASE("merge_lora with scale 0 returns the base itself", "[lora]") {
  const HostTensor base = matrix("base", {4, 6}, DType::bf16);
  const HostTensor same = merge_lora(base, matrix("a", {2, 6}), matrix("b", {4, 2}), 0.0f);
  CHECK(same.data == base.data);
  CHECK(same.dtype == DType::bf16);
}

TEST_CASE("merge_lora rejects shapes that do not match and names all three", "[lora]") {
  const HostTensor base = matrix("base", {4, 6}), a = matrix("a", {2, 6}), b = matrix("b", {4, 2});
  const Shape wrong[][2] = {{{2, 5}, {4, 2}}, {{2, 6}, {3, 2}}, {{2, 6}, {4, 3}}, {{6}, {4, 2}}};
  for (const auto& [as, bs] : wrong) {
    const std::string message = test::message_of<ShapeError>(
        [&, &as = as, &bs = bs] { merge_lora(base, matrix("a", as), matrix("b", bs), 1.0f); });
    INFO(message);
    CHECK(test::contains(message, "merge_lora"));
    CHECK(test::contains(message, "(4, 6), " + as.str() + ", " + bs.str()));
  }
  CHECK_THROWS_AS(merge_lora(base, a, b, std::numeric_limits<float>::quiet_NaN()), ArgumentError);
  CHECK_THROWS_AS(merge_lora(base, a, b, std::numeric_limits<float>::infinity()), ArgumentError);
  HostTensor integers = base;
  integers.dtype = DType::i32;
  CHECK(test::contains(test::message_of<ArgumentError>([&] { merge_lora(integers, a, b, 1.0f); }),
                       "i32"));
}
