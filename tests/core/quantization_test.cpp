// Rounding a row to 8 and 4 bits.
#include "pllava/core/quantization.hpp"

#include <cmath>
#include <vector>

#include "support/catch.hpp"
#include "support/tensors.hpp"

namespace {

using namespace pllava;

const std::vector<Quantization> kFormats = {{.format = WeightFormat::int8},
                                            {.format = WeightFormat::int4, .group = 32},
                                            {.format = WeightFormat::int4, .group = 128},
                                            {WeightFormat::int4, 32, true},
                                            {WeightFormat::int4, 128, true}};

std::string name(const Quantization& q) {
  return std::string(name_of(q.format)) + " of " + std::to_string(q.group) +
         (q.zero_points ? " with zero points" : "");
}

double error(const std::vector<float>& w, const Quantization& q) {
  const QuantizedRow row = quantize(w, q);
  std::vector<float> back(w.size());
  for (std::size_t k = 0; k < w.size(); ++k)
    back[k] = row.scale * static_cast<float>(row.integer(q, k));
  return test::distance(back, w);
}

TEST_CASE("A rounded row is near the row", "[quantization]") {
  const auto w = test::numbers(4096, 1);  // even between -1 and 1
  CHECK(error(w, kFormats[0]) < 0.005);
  for (std::size_t f = 1; f < kFormats.size(); ++f) {
    INFO(name(kFormats[f]));
    CHECK(error(w, kFormats[f]) < 0.09);
  }
}

TEST_CASE("The integers of a row fit 8 bits, whatever the row", "[quantization]") {
  for (const Quantization& q : kFormats)
    for (const Index n : {1, 2, 31, 32, 33, 127, 128, 129, 300})
      for (const float shift : {-3.0f, -0.5f, 0.0f, 0.7f, 100.0f}) {
        INFO(name(q) << ", " << n << " values about " << shift);
        auto w = test::numbers(n, static_cast<std::uint64_t>(n));
        for (float& v : w) v += shift;
        const QuantizedRow row = quantize(w, q);
        int most = 0;
        for (std::size_t k = 0; k < w.size(); ++k)
          most = std::max(most, std::abs(row.integer(q, k)));
        CHECK(most <= 127);
        CHECK(most >= 60);
      }
}

TEST_CASE("Integers of 8 bits are kept as they are, groups have ranges of their own",
          "[quantization]") {
  std::vector<float> w;
  for (int v = -127; v <= 127; ++v) w.push_back(static_cast<float>(v) / 16);
  CHECK(error(w, kFormats[0]) == 0);
  w.clear();
  for (int g = 0; g < 4; ++g)
    for (int k = 0; k < 32; ++k) w.push_back(static_cast<float>((k % 16 - 8) * (4 + 4 * g)));
  const double of_groups = error(w, kFormats[1]);  // multipliers are integers: 3.75 becomes 4
  CHECK(of_groups < 0.05);
  CHECK(error(w, kFormats[2]) > 1.5 * of_groups);  // one multiplier for all is coarser
}

TEST_CASE("Zero points keep a range that is not about zero", "[quantization]") {
  auto w = test::numbers(512, 7);
  for (float& v : w) v = v * 0.5f + 0.4f;  // -0.1 to 0.9
  CHECK(error(w, kFormats[3]) < 0.7 * error(w, kFormats[1]));
}

TEST_CASE("Rows of zeros stay zeros", "[quantization]") {
  const std::vector<float> w(70, 0.0f);
  for (const Quantization& q : kFormats) {
    const QuantizedRow row = quantize(w, q);
    CHECK(row.scale == 0);
    for (std::size_t k = 0; k < w.size(); ++k) CHECK(row.integer(q, k) == 0);
  }
}

TEST_CASE("What cannot be rounded is refused", "[quantization]") {
  for (const Quantization& q : kFormats) {
    CHECK_THROWS_AS(quantize(std::vector<float>{1, NAN}, q), ArgumentError);
    CHECK_THROWS_AS(quantize(std::vector<float>{1, -INFINITY}, q), ArgumentError);
  }
  CHECK_THROWS_AS(require_valid({.format = WeightFormat::int4, .group = 64}), ArgumentError);
  CHECK_NOTHROW(require_valid({.format = WeightFormat::int8, .group = 64}));
}

}  // namespace
