// Conversion to and from 16-bit types.
#include "pllava/core/dtype.hpp"

#include <cmath>
#include <limits>

#include "support/catch.hpp"

namespace {

using namespace pllava;

template <class T>
std::uint16_t round_trip(std::uint16_t bits) {
  return from_float<T>(to_float(T{bits})).bits;
}

TEST_CASE("Every 16-bit value converts to float and back unchanged", "[dtype]") {
  std::size_t changed = 0;
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto b = static_cast<std::uint16_t>(bits);
    const bool nan16 = (b & 0x7fffu) > 0x7f80u, nan = (b & 0x7fffu) > 0x7c00u;
    changed += !nan16 && round_trip<bf16>(b) != b;
    changed += !nan && round_trip<f16>(b) != b;
    if (nan16) changed += !std::isnan(to_float(from_float<bf16>(to_float(bf16{b}))));
    if (nan) changed += !std::isnan(to_float(from_float<f16>(to_float(f16{b}))));
  }
  CHECK(changed == 0);
}

TEST_CASE("Conversion to 16 bits rounds to nearest even and overflows to infinity", "[dtype]") {
  CHECK(from_float<bf16>(1.0f + 0x1p-8f).bits == 0x3f80);            // tie: down to even
  CHECK(from_float<bf16>(1.0f + 0x1p-7f + 0x1p-8f).bits == 0x3f82);  // tie: up to even
  CHECK(from_float<bf16>(1.0f + 0x1p-8f + 0x1p-20f).bits == 0x3f81);
  CHECK(std::isinf(to_float(from_float<bf16>(std::numeric_limits<float>::max()))));
  CHECK(from_float<f16>(1.0f + 0x1p-11f).bits == 0x3c00);
  CHECK(from_float<f16>(1.0f + 0x1p-10f + 0x1p-11f).bits == 0x3c02);
  CHECK(to_float(from_float<f16>(65519.0f)) == 65504.0f);
  CHECK(std::isinf(to_float(from_float<f16>(65520.0f))));
  CHECK(to_float(from_float<f16>(0x1p-24f)) == 0x1p-24f);  // the smallest subnormal
  CHECK(to_float(from_float<f16>(0x1p-25f)) == 0.0f);      // tie: down to even
  CHECK(std::signbit(to_float(from_float<f16>(-0.0f))));
}

TEST_CASE("size_of and name_of describe a type", "[dtype]") {
  CHECK(size_of(DType::f32) == 4);
  CHECK(size_of(DType::bf16) == 2);
  CHECK(size_of(DType::u8) == 1);
  CHECK(name_of(DType::f16) == "f16");
}

}  // namespace
