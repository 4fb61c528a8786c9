// Quantization of a row to 8 and 4 bits, and its layout in a file.
#include <cmath>
#include <vector>

#include "pllava/core/quantized_row.hpp"
#include "pllava/core/stored_row.hpp"
#include "support/catch.hpp"
#include "support/tensors.hpp"

namespace {

using namespace pllava;

const Quantization kFp8{.format = WeightFormat::fp8};

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
  std::vector<float> dequantized(w.size());
  for (std::size_t k = 0; k < w.size(); ++k) dequantized[k] = row.dequantized(q, k);
  if (is_rotated(q)) rotate_back(dequantized);
  return test::distance(dequantized, w);
}

TEST_CASE("The quantization error of a row is small", "[quantization]") {
  const auto w = test::uniform(4096, 1);  // uniform in [-1, 1)
  CHECK(error(w, kFormats[0]) < 0.01);    // rotated rows are normally distributed
  CHECK(error(w, kFp8) < 0.03);
  for (std::size_t f = 1; f < kFormats.size(); ++f) {
    INFO(name(kFormats[f]));
    CHECK(error(w, kFormats[f]) < 0.11);
  }
}

TEST_CASE("The int8 values of any row are between -127 and 127", "[quantization]") {
  for (const Quantization& q : kFormats)
    for (const Index n : {1, 2, 31, 32, 33, 127, 128, 129, 300})
      for (const float shift : {-3.0f, -0.5f, 0.0f, 0.7f, 100.0f}) {
        INFO(name(q) << ", " << n << " values about " << shift);
        auto w = test::uniform(n, static_cast<std::uint64_t>(n));
        for (float& v : w) v += shift;
        const QuantizedRow row = quantize(w, q);
        int max = 0;
        for (std::size_t k = 0; k < w.size(); ++k)
          max = std::max(max, std::abs(row.int8_value(q, k)));
        CHECK(max <= 127);
        CHECK(max >= 60);
      }
}

TEST_CASE("int8 is exact for 8-bit integers and int4 groups have separate ranges",
          "[quantization]") {
  std::vector<float> w;  // rotated
  for (int v = -127; v <= 127; ++v) w.push_back(static_cast<float>(v) / 16);
  rotate_back(w);
  const QuantizedRow row = quantize(w, kFormats[0]);
  for (int v = -127; v <= 127; ++v)
    CHECK(row.int8_value(kFormats[0], static_cast<std::size_t>(v + 127)) == v);
  CHECK(error(w, kFormats[0]) < 1e-6);
  w.clear();
  for (int g = 0; g < 4; ++g)
    for (int k = 0; k < 32; ++k) w.push_back(static_cast<float>((k % 16 - 8) * (4 + 4 * g)));
  rotate_back(w);
  const double groups_of_32 = error(w, kFormats[1]);  // group scales are integers: 3.75 becomes 4
  CHECK(groups_of_32 < 0.05);
  CHECK(error(w, kFormats[2]) > 1.5 * groups_of_32);  // one scale for the row is coarser
}

TEST_CASE("Zero points reduce the error of asymmetric ranges", "[quantization]") {
  auto w = test::uniform(512, 7);
  for (float& v : w) v = v * 0.5f + 0.4f;  // -0.1 to 0.9
  rotate_back(w);
  CHECK(error(w, kFormats[3]) < 0.7 * error(w, kFormats[1]));
}

TEST_CASE("A row of zeros stays zero", "[quantization]") {
  const std::vector<float> w(70, 0.0f);
  for (const Quantization& q : kFormats) {
    const QuantizedRow row = quantize(w, q);
    CHECK(row.channel_scale == 0);
    for (std::size_t k = 0; k < w.size(); ++k) CHECK(row.int8_value(q, k) == 0);
  }
}

TEST_CASE("float_to_e4m3 rounds to the nearest value", "[quantization]") {
  std::vector<float> values;  // all non-negative ones
  for (int code = 0; code < 0x7f; ++code)
    values.push_back(e4m3_to_float(static_cast<std::uint8_t>(code)));
  CHECK(values.front() == 0);
  CHECK(values[1] == 0x1p-9f);
  CHECK(values[8] == 0x1p-6f);
  CHECK(values[0x38] == 1);
  CHECK(values.back() == kMaxE4m3);
  for (int code = 0; code < 0x7f; ++code) {
    const float x = values[static_cast<std::size_t>(code)];
    for (const float sign : {1.0f, -1.0f}) {
      const auto back = float_to_e4m3(sign * x);
      CHECK(back == (code | (sign < 0 ? 0x80 : 0)));
      CHECK(e4m3_to_float(back) == sign * x);
    }
    if (code == 0x7e) continue;
    const float next = values[static_cast<std::size_t>(code) + 1], midpoint = (x + next) / 2;
    CHECK(float_to_e4m3(std::nextafter(midpoint, 0.0f)) == code);
    CHECK(float_to_e4m3(std::nextafter(midpoint, 1e9f)) == code + 1);
    CHECK(float_to_e4m3(midpoint) == code + code % 2);  // a tie goes to the even code
  }
  for (const float large : {449.0f, 1e30f, INFINITY}) CHECK(float_to_e4m3(large) == 0x7e);
  CHECK_FALSE(is_finite_e4m3(float_to_e4m3(NAN)));
}

TEST_CASE("load_row reads what store_row wrote and rejects NaN codes of fp8", "[quantization]") {
  const auto w = test::uniform(33, 5);
  const QuantizedRow row = quantize(w, kFp8);
  std::vector<std::byte> stored(static_cast<std::size_t>(stored_row_bytes(kFp8, 33)));
  CHECK(stored.size() == 37);
  store_row(stored.data(), row, kFp8);
  CHECK(load_row(stored.data(), 33, kFp8).values == row.values);
  stored[20] = std::byte{0xff};
  CHECK_THROWS_AS(load_row(stored.data(), 33, kFp8), ArgumentError);
}

TEST_CASE("quantize rejects values that are not finite and unsupported groups", "[quantization]") {
  for (const Quantization& q : kFormats) {
    CHECK_THROWS_AS(quantize(std::vector<float>{1, NAN}, q), ArgumentError);
    CHECK_THROWS_AS(quantize(std::vector<float>{1, -INFINITY}, q), ArgumentError);
  }
  CHECK_THROWS_AS(require_valid({.format = WeightFormat::int4, .group = 64}), ArgumentError);
  CHECK_NOTHROW(require_valid({.format = WeightFormat::int8, .group = 64}));
}

}  // namespace
