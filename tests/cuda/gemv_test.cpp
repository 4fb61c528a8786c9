// GEMV with int8, int4 and fp8 matrices, dequantization, and quantization of rows to fp8, on the
// executor, compared with loops over the rows as files store them.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

#include "launch.hpp"
#include "pllava/core/float8.hpp"
#include "pllava/core/stored_row.hpp"
#include "simt.cuh"
#include "support/catch.hpp"
#include "support/kernel_types.hpp"
#include "support/simt.hpp"

namespace {

using namespace pllava::cuda::kernels;
using pllava::Quantization;
using pllava::WeightFormat;

const std::vector<Quantization> kFormats = {
    {WeightFormat::int8, 32, false},  {WeightFormat::int4, 32, false},
    {WeightFormat::int4, 128, false}, {WeightFormat::int4, 32, true},
    {WeightFormat::int4, 128, true},  {WeightFormat::fp8}};

// Less than, equal to and more than a pack of each format, a group, and the values that a warp
// reads at a time.
const std::vector<int> kWidths = {1, 15, 16, 31, 33, 64, 100, 127, 129, 520, 1030};

std::string name(const Quantization& q) {
  return std::string(name_of(q.format)) + " group " + std::to_string(q.group) +
         (q.zero_points ? " with zero points" : "");
}

/// Maximum relative error of a conversion to T.
template <class T>
constexpr double conversion_error = 0;
template <>
constexpr double conversion_error<f16> = 1.0 / 2048;
template <>
constexpr double conversion_error<bf16> = 1.0 / 256;

std::size_t size(std::int64_t n) {
  return static_cast<std::size_t>(n);
}

/// A random quantized matrix as kernels read it, and its dequantized values.
struct Matrix {
  Matrix(const Quantization& q, int rows, int columns) : dequantized(size(rows) * size(columns)) {
    std::mt19937 random(static_cast<unsigned>(rows * 1009 + columns));
    std::normal_distribution<float> normal(q.zero_points ? 0.3f : 0.0f, 1.0f);
    view.type = q.format == WeightFormat::int8   ? QuantizedType::int8
                : q.format == WeightFormat::int4 ? QuantizedType::int4
                                                 : QuantizedType::e4m3;
    const int bits = bits_of(view.type);
    view.packs = (columns * bits + 127) / 128;
    view.log2_group_packs = q.group == 128 ? 2 : 0;
    values.assign(size(rows) * size(view.packs) * 4, 0xffffffffu);
    std::vector<float> w(size(columns));
    for (int r = 0; r < rows; ++r) {
      for (float& v : w) v = normal(random);
      if (r == 1) w.assign(w.size(), 0.0f);
      std::vector<std::byte> stored(size(stored_row_bytes(q, columns)));
      store_row(stored.data(), quantize(w, q), q);
      const pllava::QuantizedRow row = pllava::load_row(stored.data(), columns, q);
      for (int k = 0; k < columns; ++k) {
        const int per_word = 32 / bits, shift = k % per_word * bits;
        std::uint32_t& word = values[size(r) * size(view.packs) * 4 + size(k / per_word)];
        word &= ~(((1u << bits) - 1) << shift);
        word |= std::uint32_t{row.values[size(k)]} << shift;
        dequantized[size(r) * size(columns) + size(k)] = row.dequantized(q, size(k));
      }
      channel_scales.push_back(row.channel_scale);
      group_scales.insert(group_scales.end(), row.group_scales.begin(), row.group_scales.end());
      zero_points.insert(zero_points.end(), row.zero_points.begin(), row.zero_points.end());
    }
    view.values = values.data(), view.channel_scales = channel_scales.data();
    if (bits == 4) view.group_scales = group_scales.data();
    if (q.zero_points) view.zero_points = zero_points.data();
  }

  std::vector<float> dequantized;
  std::vector<std::uint32_t> values;
  std::vector<float> channel_scales;
  std::vector<std::uint8_t> group_scales, zero_points;
  QuantizedMatrix view;
};

template <class T>
std::vector<T> random_values(std::int64_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> uniform(-1, 1);
  std::vector<T> v(size(n));
  for (T& x : v) x = from_float<T>(uniform(random));
  return v;
}

/// A sum, and the sum of magnitudes, to which the f32 error is relative.
struct Sum {
  double value = 0, magnitude = 0;
  void add(double x) { value += x, magnitude += std::fabs(x); }
};

template <class T>
Sum dot_product(const std::vector<T>& x, const Matrix& w, int r, int o, int in) {
  Sum sum;
  for (int k = 0; k < in; ++k)
    sum.add(double{to_float(x[size(r * in + k)])} * w.dequantized[size(o * in + k)]);
  return sum;
}

double activation(double x, Act act) {
  switch (act) {
    case Act::none: return x;
    case Act::gelu_tanh:
      return 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::acos(-1.0)) * (x + 0.044715 * x * x * x)));
    case Act::quick_gelu: return x / (1 + std::exp(-1.702 * x));
    case Act::gelu: return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
    case Act::silu: return x / (1 + std::exp(-x));
  }
  return x;
}

constexpr double kSumError = 1e-6;
constexpr double kMaxSlope = 1.2;  // of the activations

/// Checks that the values after the first `count` are still 7.
template <class Y>
void check_guard(const std::vector<Y>& y, int count) {
  for (std::size_t i = size(count); i < y.size(); ++i) REQUIRE(to_float(y[i]) == 7);
}

template <class T, class Y>
void check_gemv(const Quantization& q, int rows, int out, int in, bool bias, Act act,
                bool accumulate) {
  INFO(name(q) << " rows " << rows << " out " << out << " in " << in << " bias " << bias << " act "
               << static_cast<int>(act) << " accumulate " << accumulate);
  const Matrix w(q, out, in);
  auto x = random_values<T>(rows * in, 5);
  const auto b = random_values<float>(out, 6);
  std::vector<Y> y(size(rows * out + 3), from_float<Y>(7));
  Gemv call;
  call.y = {y.data(), type_of<Y>}, call.x = {x.data(), type_of<T>};
  call.bias = bias ? b.data() : nullptr;
  call.rows = rows, call.out = out, call.in = in, call.act = act, call.accumulate = accumulate;
  REQUIRE(gemv(call, w.view, nullptr) == 0);
  check_guard(y, rows * out);
  for (int r = 0; r < rows; ++r)
    for (int o = 0; o < out; ++o) {
      Sum sum = dot_product(x, w, r, o, in);
      if (bias) sum.add(b[size(o)]);
      if (accumulate) sum.add(7);
      const double expected = activation(sum.value, act);
      REQUIRE(std::fabs(to_float(y[size(r * out + o)]) - expected) <=
              kSumError * kMaxSlope * sum.magnitude + conversion_error<Y> * std::fabs(expected) +
                  1e-7);
    }
}

/// Sets the order of threads until its destruction.
struct ThreadOrder {
  explicit ThreadOrder(simt::Order order) { simt::order = order; }
  ThreadOrder(const ThreadOrder&) = delete;
  ThreadOrder& operator=(const ThreadOrder&) = delete;
  ~ThreadOrder() { simt::order = simt::Order::ascending; }
};

TEST_CASE("gemv with quantized matrices matches the reference for 1 to 8 rows", "[cuda]") {
  for (const Quantization& q : kFormats)
    for (const int in : kWidths)
      for (int rows = 1; rows <= kMaxGemvRows; ++rows) {
        const int out = rows % 2 == 0 ? 1 : 9 + rows;
        const ThreadOrder order(rows % 3 == 0 ? simt::Order::descending : simt::Order::ascending);
        check_gemv<float, float>(q, rows, out, in, false, Act::none, false);
        check_gemv<f16, f16>(q, rows, out, in, true, Act::none, false);
        check_gemv<bf16, bf16>(q, rows, out, in, true, Act::none, false);
      }
}

TEST_CASE("gemv with quantized matrices supports every epilogue", "[cuda]") {
  for (const Quantization& q : kFormats) {
    for (const Act act : {Act::none, Act::quick_gelu, Act::gelu, Act::gelu_tanh, Act::silu})
      for (const bool bias : {false, true}) check_gemv<bf16, float>(q, 3, 7, 70, bias, act, false);
    for (const bool bias : {false, true}) {
      check_gemv<float, float>(q, 1, 7, 70, bias, Act::none, true);
      check_gemv<f16, float>(q, 2, 7, 70, bias, Act::none, true);
      check_gemv<bf16, float>(q, 8, 7, 70, bias, Act::none, true);
    }
  }
}

template <class T>
void check_glu(const Quantization& q, int rows, int out, int in, Act act) {
  INFO(name(q) << " rows " << rows << " out " << out << " in " << in);
  const Matrix w(q, 2 * out, in);
  const auto x = random_values<T>(rows * in, 8);
  std::vector<T> y(size(rows * out + 3), from_float<T>(7));
  Gemv call;
  call.y = {y.data(), type_of<T>}, call.x = {const_cast<T*>(x.data()), type_of<T>};
  call.rows = rows, call.out = out, call.in = in, call.act = act;
  REQUIRE(gemv_glu(call, w.view, nullptr) == 0);
  check_guard(y, rows * out);
  for (int r = 0; r < rows; ++r)
    for (int o = 0; o < out; ++o) {
      const Sum gate = dot_product(x, w, r, o, in), up = dot_product(x, w, r, out + o, in);
      const double left = activation(gate.value, act), expected = left * up.value;
      const double error =
          kMaxSlope * gate.magnitude * std::fabs(up.value) + std::fabs(left) * up.magnitude;
      REQUIRE(std::fabs(to_float(y[size(r * out + o)]) - expected) <=
              kSumError * error + conversion_error<T> * std::fabs(expected) + 1e-7);
    }
}

TEST_CASE("gemv_glu with quantized matrices matches the reference", "[cuda]") {
  for (const Quantization& q : kFormats)
    for (const int in : {1, 33, 129, 1030})
      for (int rows = 1; rows <= kMaxGemvRows; ++rows) {
        const int out = rows % 2 == 0 ? 1 : 6;
        check_glu<float>(q, rows, out, in, Act::silu);
        check_glu<f16>(q, rows, out, in, Act::gelu);
        check_glu<bf16>(q, rows, out, in, Act::silu);
      }
}

template <class T>
bool same(T a, T b) {
  return std::memcmp(&a, &b, sizeof a) == 0;
}

template <class T>
void check_dequantize(const Quantization& q, int in) {
  INFO(name(q) << " in " << in);
  constexpr int kRows = 6, kFirst = 2, kPart = 3;
  const Matrix w(q, kRows, in);
  std::vector<T> y(size(kPart * in + 3), from_float<T>(7));
  REQUIRE(dequantize({y.data(), type_of<T>}, w.view, kFirst, kPart, in, nullptr) == 0);
  check_guard(y, kPart * in);
  for (int i = 0; i < kPart * in; ++i)
    REQUIRE(same(y[size(i)], from_float<T>(w.dequantized[size(kFirst * in + i)])));
}

TEST_CASE("dequantize matches the dequantization on the host", "[cuda]") {
  for (const Quantization& q : kFormats)
    for (const int in : kWidths) {
      check_dequantize<float>(q, in);
      check_dequantize<f16>(q, in);
      check_dequantize<bf16>(q, in);
    }
}

template <class T>
void check_quantize_rows(int width) {
  INFO("width " << width);
  constexpr int kRows = 3;
  auto x = random_values<T>(kRows * width, 5);
  for (int k = 0; k < width; ++k) x[size(width + k)] = from_float<T>(0);
  std::vector<std::uint8_t> values(size(kRows * width + 4), 0xaa);
  std::vector<float> scales(kRows + 1, -7);
  REQUIRE(quantize_rows(values.data(), scales.data(), {x.data(), type_of<T>}, kRows, width,
                        nullptr) == 0);
  for (std::size_t i = size(kRows * width); i < values.size(); ++i) REQUIRE(values[i] == 0xaa);
  REQUIRE(scales[kRows] == -7);
  for (int r = 0; r < kRows; ++r) {
    std::vector<float> row(size(width));
    for (int k = 0; k < width; ++k) row[size(k)] = to_float(x[size(r * width + k)]);
    const pllava::QuantizedRow expected = pllava::quantize(row, {WeightFormat::fp8});
    REQUIRE(scales[size(r)] == expected.channel_scale);
    for (int k = 0; k < width; ++k)
      REQUIRE(values[size(r * width + k)] == expected.values[size(k)]);
  }
}

TEST_CASE("quantize_rows matches the quantization of weights to fp8", "[cuda]") {
  for (const int width : {1, 31, 32, 255, 256, 257, 1030}) {
    check_quantize_rows<float>(width);
    check_quantize_rows<f16>(width);
    check_quantize_rows<bf16>(width);
  }
}

TEST_CASE("quantize_rows gives a row with an infinity or NaN the scale NaN", "[cuda]") {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), -HUGE_VALF}) {
    std::vector<float> x(2 * 300, 0.5f), scales(2);
    x[299] = bad;
    std::vector<std::uint8_t> values(x.size());
    REQUIRE(quantize_rows(values.data(), scales.data(), {x.data(), Type::f32}, 2, 300, nullptr) ==
            0);
    CHECK(std::isnan(scales[0]));
    CHECK(scales[1] == 0.5f / 448);
  }
}

TEST_CASE("quantize_rows keeps tiny values finite", "[cuda]") {
  std::vector<float> x = {1e-38f, -1e-42f, 0.0f};
  std::vector<float> scales(1);
  std::vector<std::uint8_t> values(x.size());
  REQUIRE(quantize_rows(values.data(), scales.data(), {x.data(), Type::f32}, 1, 3, nullptr) == 0);
  for (std::size_t k = 0; k < x.size(); ++k)
    CHECK(std::abs(pllava::e4m3_to_float(values[k]) * scales[0] - x[k]) < 1e-32f);
}

}  // namespace
