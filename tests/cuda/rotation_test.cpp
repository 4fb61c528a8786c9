// The rotation of rows on the executor, compared with core/rotation.hpp.
#include "pllava/core/rotation.hpp"

#include <cmath>
#include <cstring>
#include <random>
#include <span>
#include <vector>

#include "launch.hpp"
#include "simt.cuh"
#include "support/catch.hpp"
#include "support/kernel_types.hpp"
#include "support/simt.hpp"

namespace {

using namespace pllava::cuda::kernels;

/// Rows with one channel that is much larger than the others.
template <class X>
std::vector<X> random_rows(int rows, int width) {
  std::mt19937 random(static_cast<unsigned>(width));
  std::normal_distribution<float> normal;
  std::vector<X> x(static_cast<std::size_t>(rows) * static_cast<std::size_t>(width));
  for (X& v : x) v = from_float<X>(normal(random));
  x[x.size() / 2] = from_float<X>(300.0f);
  return x;
}

/// Checks that every value is that of pllava::rotate(), rounded to Y.
template <class X, class Y>
void check_rotation(int width) {
  INFO("width " << width << " from type " << static_cast<int>(type_of<X>) << " to type "
                << static_cast<int>(type_of<Y>));
  constexpr int kRows = 3;
  std::vector<X> x = random_rows<X>(kRows, width);
  std::vector<Y> y(x.size() + 3, from_float<Y>(7));
  REQUIRE(rotate_rows({y.data(), type_of<Y>}, {x.data(), type_of<X>}, kRows, width, nullptr) == 0);
  std::vector<float> expected;
  for (const X v : x) expected.push_back(to_float(v));
  for (std::size_t r = 0; r < kRows; ++r)
    pllava::rotate(std::span(expected).subspan(r * static_cast<std::size_t>(width),
                                               static_cast<std::size_t>(width)));
  for (std::size_t i = 0; i < y.size(); ++i) {
    const Y value = from_float<Y>(i < expected.size() ? expected[i] : 7);
    REQUIRE(std::memcmp(&y[i], &value, sizeof value) == 0);
  }
}

TEST_CASE("rotate_rows equals the rotation on the host to the bit", "[cuda]") {
  for (const simt::Order order : {simt::Order::ascending, simt::Order::descending}) {
    simt::order = order;
    for (const int width : {1, 2, 3, 5, 8, 31, 64, 150, 576, 1024, 2048, 4096, 11008}) {
      check_rotation<float, float>(width);
      check_rotation<float, f16>(width);
      check_rotation<float, bf16>(width);
      check_rotation<f16, f16>(width);
      check_rotation<bf16, bf16>(width);
      check_rotation<bf16, float>(width);
    }
  }
  simt::order = simt::Order::ascending;
}

TEST_CASE("rotate_rows rotates rows longer than shared memory in an f32 result", "[cuda]") {
  int width = 1;  // the longest that fits
  while (rotation_shared_bytes(width + 1) <= kMaxSharedBytes) ++width;
  check_rotation<bf16, bf16>(width);
  for (const int longer : {width + 1, 29568, 65536}) {
    check_rotation<float, float>(longer);
    check_rotation<bf16, float>(longer);
  }
  std::vector<bf16> x = random_rows<bf16>(1, width + 1), y = x;
  CHECK(rotate_rows({y.data(), Type::bf16}, {x.data(), Type::bf16}, 1, width + 1, nullptr) ==
        kInvalidValue);
}

TEST_CASE("rotate_rows allows zero rows and rows without channels", "[cuda]") {
  CHECK(rotate_rows({}, {}, 0, 16, nullptr) == 0);
  CHECK(rotate_rows({}, {}, 2, 0, nullptr) == 0);
}

}  // namespace
