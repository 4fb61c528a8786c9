// Properties of the CPU backend that are not specific to a verb.
#include "pllava/cpu/backend.hpp"

#include "pllava/pllava.hpp"
#include "support/catch.hpp"
#include "support/tensors.hpp"

namespace {

using namespace pllava;
using B = cpu::Backend;

std::vector<float> linear_output(Index threads, cpu::Isa isa, DType dtype) {
  B be({.dtype = dtype, .threads = threads, .isa = isa});
  const Linear<typename B::Weight> w{
      test::weight(be, test::uniform(300 * 70, 1), {300, 70}, WeightRole::linear), {}, 300, 70};
  auto x = test::tensor(be, test::uniform(41 * 70, 2), {41, 70}, dtype);
  Tensor<B> y(be, {41, 300}, DType::f32);
  ops::linear(be, y.view(), x.view(), w);
  return detail::to_floats(be, y);
}

TEST_CASE("results are bit-equal for every number of threads", "[cpu_backend][threads]") {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const auto expected = linear_output(1, cpu::detect_isa(), dtype);
    for (const Index threads : {2, 3, 8})
      CHECK(linear_output(threads, cpu::detect_isa(), dtype) == expected);
  }
}

TEST_CASE("an instruction set that the machine lacks falls back to the best that it has",
          "[cpu_backend]") {
  const B best({.threads = 1, .isa = cpu::Isa::avx512_bf16});
  CHECK(best.isa_name() == std::string(cpu::kernels(cpu::detect_isa()).name));
  const B portable({.threads = 1, .isa = cpu::Isa::portable});
  CHECK(portable.isa_name() == std::string("portable"));
}

TEST_CASE("dtypes other than f32 and bf16 are rejected", "[cpu_backend]") {
  CHECK_THROWS_AS(B({.dtype = DType::f16}), ArgumentError);
  CHECK_THROWS_AS(B({.dtype = DType::i32}), ArgumentError);
}

}  // namespace
