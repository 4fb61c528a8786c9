// The attention kernels on the executor, compared with a reference in double precision.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

#include "launch.hpp"
#include "pllava/core/rotation.hpp"
#include "simt.cuh"
#include "support/catch.hpp"
#include "support/kernel_types.hpp"
#include "support/simt.hpp"

namespace {

using namespace pllava::cuda::kernels;

/// Maximum error of results of magnitude 1.
template <class T>
constexpr double tolerance = 1e-5;
template <>
constexpr double tolerance<f16> = 2e-3;
template <>
constexpr double tolerance<bf16> = 1.5e-2;

template <class T>
T nan_value() {
  return from_float<T>(std::numeric_limits<float>::quiet_NaN());
}

std::size_t size(std::int64_t n) {
  return static_cast<std::size_t>(n);
}

struct Shape {
  int query_heads = 1, kv_heads = 1, head_dim = 64, past = 0, rows = 1, output_rows = 1;
  int batch = 1;
  bool causal = true, rope = true, cache = true;
  int bound_slack = 0;  // max_kv_length minus the length
  float query_range = 1.5f;
  int shift = 0;  // of qkv from a 16-byte boundary, in elements
  bool int8_cache = false;

  std::string str() const {
    std::string text = "heads " + std::to_string(query_heads) + ":" + std::to_string(kv_heads);
    text += " dim " + std::to_string(head_dim) + " past " + std::to_string(past);
    text += " rows " + std::to_string(rows) + " output rows " + std::to_string(output_rows);
    return text + " batch " + std::to_string(batch) + " bound slack " + std::to_string(bound_slack);
  }
};

/// Operands of one call. What the call must not read is NaN.
template <class T>
class Operands {
 public:
  explicit Operands(const Shape& shape)
      : s(shape),
        capacity(s.past + s.rows + 5),
        width((s.query_heads + 2 * s.kv_heads) * s.head_dim) {
    std::mt19937 random(static_cast<unsigned>(s.past * 131 + s.rows * 7 + s.head_dim));
    std::uniform_real_distribution<float> uniform(-1, 1);
    qkv.assign(size(s.shift + s.batch * s.rows * width), nan_value<T>());
    for (std::int64_t i = 0; i < s.batch * s.rows * width; ++i)
      qkv[size(s.shift + i)] = from_float<T>(
          uniform(random) * (i % width < s.query_heads * s.head_dim ? s.query_range : 1.0f));
    keys.assign(size(s.kv_heads * capacity * s.head_dim), nan_value<T>());
    values = keys;
    if (s.int8_cache) {
      key_bytes.resize(keys.size());
      value_bytes.resize(keys.size());
      scales.assign(size(2 * s.kv_heads * capacity), std::numeric_limits<float>::quiet_NaN());
      for (auto* all : {&key_bytes, &value_bytes})
        for (std::uint8_t& byte : *all) byte = static_cast<std::uint8_t>(1 + random() % 255);
      for (int h = 0; h < 2 * s.kv_heads; ++h)
        for (int p = 0; p < s.past; ++p)
          scales[size(h * capacity + p)] = (1.0f + uniform(random) / 2) / 127;
    }
    for (int h = 0; h < s.kv_heads; ++h)
      for (std::int64_t i = 0; i < std::int64_t{s.past} * s.head_dim; ++i) {
        keys[size(h * capacity * s.head_dim + i)] = from_float<T>(uniform(random));
        values[size(h * capacity * s.head_dim + i)] = from_float<T>(uniform(random));
      }
    rope.assign(size((s.past + s.rows) * s.head_dim), 0.0f);
    const int half = s.head_dim / 2;
    for (int p = 0; p < s.past + s.rows; ++p)
      for (int d = 0; d < half; ++d) {
        const double angle = p * std::pow(10000.0, -static_cast<double>(d) / half);
        rope[size(p * s.head_dim + d)] = static_cast<float>(std::cos(angle));
        rope[size(p * s.head_dim + half + d)] = static_cast<float>(std::sin(angle));
      }
  }

  Attention call() {
    Attention call;
    call.qkv = {qkv.data() + s.shift, type_of<T>};
    o.assign(size(s.batch * s.output_rows * s.query_heads * s.head_dim + 8), nan_value<T>());
    call.o = {o.data(), type_of<T>};
    call.rope = s.rope ? rope.data() : nullptr;
    if (s.cache) {
      call.keys = s.int8_cache ? static_cast<void*>(key_bytes.data()) : keys.data();
      call.values = s.int8_cache ? static_cast<void*>(value_bytes.data()) : values.data();
      call.kv_scales = s.int8_cache ? scales.data() : nullptr;
      call.past = &s.past;
      call.capacity = capacity;
      call.max_kv_length = s.past + s.rows + s.bound_slack;
    }
    call.rows = s.rows;
    call.output_rows = s.output_rows;
    call.batch = s.batch;
    call.num_query_heads = s.query_heads;
    call.num_kv_heads = s.kv_heads;
    call.head_dim = s.head_dim;
    call.causal = s.causal;
    return call;
  }

  double in_qkv(int b, int n, int head, int d) const {
    return to_float(qkv[size(s.shift + (b * s.rows + n) * width + head * s.head_dim + d)]);
  }
  double after_rope(int b, int n, int head, int d) const {
    if (!s.rope) return in_qkv(b, n, head, d);
    const int half = s.head_dim / 2, angle = (s.past + n) * s.head_dim + d % half;
    const double other = d < half ? -in_qkv(b, n, head, d + half) : in_qkv(b, n, head, d - half);
    return in_qkv(b, n, head, d) * rope[size(angle)] + other * rope[size(angle + half)];
  }
  /// A query or key: after RoPE, and rotated for an int8 cache.
  std::vector<double> attended(int b, int n, int head) const {
    std::vector<float> x(size(s.head_dim));
    for (int d = 0; d < s.head_dim; ++d) x[size(d)] = static_cast<float>(after_rope(b, n, head, d));
    if (s.int8_cache) pllava::rotate(x);
    return {x.begin(), x.end()};
  }
  /// Element of an int8 cache; part 0 is keys, which are rotated, 1 values.
  double dequantized(int part, int p, int head, int d) const {
    const auto& bytes = part == 0 ? key_bytes : value_bytes;
    return double{scales[size((part * s.kv_heads + head) * capacity + p)]} *
           (bytes[size((head * capacity + p) * s.head_dim + d)] - 128);
  }
  double key(int b, int p, int head, int d) const {
    if (s.int8_cache) return dequantized(0, p, head, d);
    return p < s.past ? to_float(keys[size((head * capacity + p) * s.head_dim + d)])
                      : after_rope(b, p - s.past, s.query_heads + head, d);
  }
  double value(int b, int p, int head, int d) const {
    if (s.int8_cache) return dequantized(1, p, head, d);
    return p < s.past ? to_float(values[size((head * capacity + p) * s.head_dim + d)])
                      : in_qkv(b, p - s.past, s.query_heads + s.kv_heads + head, d);
  }

  std::vector<double> expected() const {
    std::vector<double> result;
    std::vector<double> k(size((s.past + s.rows) * s.head_dim)), v(k.size());
    result.resize(size(s.batch * s.output_rows * s.query_heads * s.head_dim));
    for (int b = 0; b < s.batch; ++b)
      for (int head = 0; head < s.query_heads; ++head) {
        const int group = s.query_heads / s.kv_heads;
        if (head % group == 0)
          for (int p = 0; p < s.past + s.rows; ++p)
            for (int d = 0; d < s.head_dim; ++d) {
              k[size(p * s.head_dim + d)] = key(b, p, head / group, d);
              v[size(p * s.head_dim + d)] = value(b, p, head / group, d);
            }
        for (int m = 0; m < s.output_rows; ++m) {
          const int n = s.rows - s.output_rows + m,
                    seen = s.causal ? s.past + n + 1 : s.past + s.rows;
          const std::vector<double> q = attended(b, n, head);
          std::vector<double> weight(size(seen));
          double max = -std::numeric_limits<double>::infinity(), sum = 0;
          for (int p = 0; p < seen; ++p) {
            double score = 0;
            for (int d = 0; d < s.head_dim; ++d) score += q[size(d)] * k[size(p * s.head_dim + d)];
            weight[size(p)] = score / std::sqrt(static_cast<double>(s.head_dim));
            max = std::max(max, weight[size(p)]);
          }
          for (double& w : weight) sum += w = std::exp(w - max);
          double* const out =
              &result[size(((b * s.output_rows + m) * s.query_heads + head) * s.head_dim)];
          for (int p = 0; p < seen; ++p)
            for (int d = 0; d < s.head_dim; ++d)
              out[d] += weight[size(p)] / sum * v[size(p * s.head_dim + d)];
        }
      }
    return result;
  }

  /// Maximum error; infinite if a result is missing or written after the end.
  double error(const std::vector<double>& expected) const {
    double worst = 0;
    for (std::size_t i = 0; i < o.size(); ++i) {
      const double x = to_float(o[i]);
      if (std::isnan(x) != (i >= expected.size())) return std::numeric_limits<double>::infinity();
      if (i < expected.size()) worst = std::max(worst, std::abs(x - expected[i]));
    }
    return worst;
  }

  Shape s;
  std::int64_t capacity, width;
  std::vector<T> qkv, keys, values, o;
  std::vector<std::uint8_t> key_bytes, value_bytes;
  std::vector<float> scales, rope;
};

/// decode_attention() with a workspace of exactly decode_workspace_bytes().
int decode_with_exact_workspace(const Attention& call) {
  const std::int64_t bytes = decode_workspace_bytes(call);
  REQUIRE(bytes % 4 == 0);
  std::vector<float> workspace(size(bytes / 4 + 4), std::numeric_limits<float>::quiet_NaN());
  const int status = decode_attention(call, workspace.data(), nullptr);
  for (std::size_t i = workspace.size() - 4; i < workspace.size(); ++i)
    if (!std::isnan(workspace[i])) FAIL("written after the end of the workspace");
  return status;
}

template <class T>
void check(const Shape& shape) {
  INFO(shape.str());
  Operands<T> operands(shape);
  const Attention call = operands.call();
  if (shape.cache) REQUIRE(append_kv(call, nullptr) == 0);
  const std::vector<double> expected = operands.expected();
  REQUIRE(prefill_attention(call, nullptr) == 0);
  CHECK(operands.error(expected) < tolerance<T>);
  if (!shape.cache || shape.rows > kMaxDecodeRows) return;
  const Attention again = operands.call();
  REQUIRE(append_kv(again, nullptr) == 0);
  REQUIRE(decode_with_exact_workspace(again) == 0);
  CHECK(operands.error(expected) < tolerance<T>);
}

template <class T>
void check_appended(const Shape& shape) {
  INFO(shape.str());
  Operands<T> operands(shape);
  const Operands<T> before = operands;
  REQUIRE(append_kv(operands.call(), nullptr) == 0);
  for (int h = 0; h < shape.kv_heads; ++h)
    for (int p = 0; p < operands.capacity; ++p)
      for (int d = 0; d < shape.head_dim; ++d) {
        const double key =
            to_float(operands.keys[size((h * operands.capacity + p) * shape.head_dim + d)]);
        const double value =
            to_float(operands.values[size((h * operands.capacity + p) * shape.head_dim + d)]);
        if (p >= shape.past + shape.rows) {
          REQUIRE((std::isnan(key) && std::isnan(value)));
        } else {
          REQUIRE(std::abs(key - before.key(0, p, h, d)) <= tolerance<T> / 2);
          REQUIRE(value == before.value(0, p, h, d));
        }
      }
}

TEST_CASE("append_kv writes keys, after RoPE, and values to the cache", "[cuda]") {
  for (const int dim : {2, 10, 18, 64, 80, 128})
    for (const bool rope : {true, false}) {
      Shape shape = {
          .query_heads = 4, .kv_heads = 2, .head_dim = dim, .past = 3, .rows = 5, .rope = rope};
      check_appended<float>(shape);
      check_appended<f16>(shape);
      check_appended<bf16>(shape);
      shape.shift = 1;
      check_appended<f16>(shape);
    }
  check_appended<bf16>({.head_dim = 7, .past = 0, .rows = 3, .rope = false});
}

template <class T>
void check_quantized(const Shape& shape) {
  INFO(shape.str());
  Operands<T> operands(shape);
  const Operands<T> before = operands;
  REQUIRE(append_kv(operands.call(), nullptr) == 0);
  for (int part = 0; part < 2; ++part)
    for (int h = 0; h < shape.kv_heads; ++h)
      for (int p = 0; p < operands.capacity; ++p) {
        const float scale =
            operands.scales[size((part * shape.kv_heads + h) * operands.capacity + p)];
        REQUIRE(std::isnan(scale) == (p >= shape.past + shape.rows));
        if (std::isnan(scale)) continue;
        const int n = p - shape.past;
        std::vector<double> key;
        if (part == 0 && n >= 0) key = before.attended(0, n, shape.query_heads + h);
        double max_abs = 0;
        for (int d = 0; d < shape.head_dim; ++d) {
          const double got = operands.dequantized(part, p, h, d);
          if (p < shape.past) {
            REQUIRE(got == before.dequantized(part, p, h, d));
            continue;
          }
          const double exact = part == 0
                                   ? key[size(d)]
                                   : before.in_qkv(0, n, shape.query_heads + shape.kv_heads + h, d);
          REQUIRE(std::abs(got - exact) <= 0.5001 * double{scale});
          max_abs = std::max(max_abs, std::abs(exact));
        }
        if (p >= shape.past) REQUIRE(double{scale} == Approx(max_abs / 127).epsilon(1e-5));
      }
}

TEST_CASE("append_kv rotates keys, and quantizes to int8 with a scale for each row of a head",
          "[cuda]") {
  for (const int dim : {2, 10, 64, 80, 128})
    for (const bool rope : {true, false}) {
      const Shape shape = {.query_heads = 4,
                           .kv_heads = 2,
                           .head_dim = dim,
                           .past = 3,
                           .rows = 5,
                           .rope = rope,
                           .int8_cache = true};
      check_quantized<float>(shape);
      check_quantized<f16>(shape);
      check_quantized<bf16>(shape);
    }
  check_quantized<bf16>({.head_dim = 7, .past = 0, .rows = 3, .rope = false, .int8_cache = true});
}

TEST_CASE("append_kv gives a row with an infinity or NaN the scale NaN", "[cuda]") {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), HUGE_VALF}) {
    Operands<float> operands(
        {.head_dim = 40, .past = 2, .rows = 1, .rope = false, .int8_cache = true});
    operands.qkv[size(operands.s.head_dim + 33)] = bad;  // of the key
    REQUIRE(append_kv(operands.call(), nullptr) == 0);
    CHECK(std::isnan(operands.scales[2]));
    CHECK(std::isfinite(operands.scales[size(operands.capacity + 2)]));
  }
}

/// Checks several lengths, each with some combinations of the other parameters, which depend on
/// `turn`.
template <class T>
void check_lengths(int query_heads, int kv_heads, int head_dim, int turn, bool int8_cache = false) {
  int i = turn;
  for (const int past : {0, 3, 31, 255, 300})
    for (const int rows : {1, 2, 8, 33, 65, 130}) {
      const int output_rows = i % 3 == 0 ? 0 : i % 3 == 1 ? 1 : rows;
      if (i++ % 6 != 0 && rows > 8) continue;
      Shape shape = {.query_heads = query_heads,
                     .kv_heads = kv_heads,
                     .head_dim = head_dim,
                     .past = past,
                     .rows = rows};
      shape.output_rows = output_rows;
      shape.causal = i % 5 != 0;
      shape.rope = i % 7 != 0;
      shape.bound_slack = i % 2 * 700;
      shape.int8_cache = int8_cache;
      check<T>(shape);
    }
}

TEMPLATE_TEST_CASE("Attention with a KV cache matches the reference", "[cuda]", float, f16, bf16) {
  int turn = 0;
  for (const int dim : {2, 10, 18, 64, 80, 128}) {
    check_lengths<TestType>(1, 1, dim, turn++);
    check_lengths<TestType>(7, 1, dim, turn++);
    check_lengths<TestType>(4, 2, dim, turn++);
  }
}

TEMPLATE_TEST_CASE("Attention with an int8 KV cache matches the reference", "[cuda]", float, f16,
                   bf16) {
  int turn = 0;
  for (const int dim : {10, 64, 80, 128}) {
    check_lengths<TestType>(1, 1, dim, turn++, true);
    check_lengths<TestType>(4, 2, dim, turn++, true);
    check_lengths<TestType>(7, 1, dim, turn++, true);
  }
}

TEMPLATE_TEST_CASE("Attention without a KV cache matches the reference", "[cuda]", float, f16,
                   bf16) {
  for (const int rows : {1, 37, 64, 65, 130})
    for (const int dim : {10, 64, 80}) {
      Shape shape = {.query_heads = 2,
                     .kv_heads = 2,
                     .head_dim = dim,
                     .rows = rows,
                     .output_rows = rows,
                     .batch = 3};
      shape.cache = shape.causal = shape.rope = false;
      check<TestType>(shape);
      shape.kv_heads = 1;
      shape.output_rows = 1;
      shape.causal = shape.rope = true;
      check<TestType>(shape);
      shape.output_rows = (rows + 1) / 2;
      shape.rope = false;
      check<TestType>(shape);
    }
}

TEST_CASE("Attention accepts rows that are not aligned", "[cuda]") {
  for (const int dim : {7, 64, 72, 96}) {
    Shape shape = {
        .query_heads = 2, .kv_heads = 1, .head_dim = dim, .past = 70, .rows = 6, .output_rows = 6};
    shape.rope = dim % 2 == 0;
    for (const int shift : {0, 1}) {
      shape.shift = shift;
      check<f16>(shape);
      check<float>(shape);
    }
  }
}

/// With queries of 0 all positions have equal weights, and output d counts the positions with
/// p % dim == d.
template <class T>
void check_count(int past, int rows, int bound_slack, bool causal, int kv = 1) {
  constexpr int dim = 64;
  Shape shape = {.query_heads = 2 * kv,
                 .kv_heads = kv,
                 .head_dim = dim,
                 .past = past,
                 .rows = rows,
                 .output_rows = rows};
  shape.rope = false;
  shape.causal = causal;
  shape.query_range = 0;
  shape.bound_slack = bound_slack;
  INFO(shape.str());
  Operands<T> operands(shape);
  const auto one = [](int p, int d) { return from_float<T>(p % dim == d ? 1.0f : 0.0f); };
  for (int h = 0; h < kv; ++h)
    for (int d = 0; d < dim; ++d) {
      for (int p = 0; p < past; ++p)
        operands.values[size((h * operands.capacity + p) * dim + d)] = one(p, d);
      for (int n = 0; n < rows; ++n)
        operands.qkv[size(n * operands.width + (3 * kv + h) * dim + d)] = one(past + n, d);
    }
  const double relative_error = std::is_same_v<T, float> ? 1e-5
                                : std::is_same_v<T, f16> ? 1e-3
                                                         : 6e-3;
  for (const bool decode : {false, true}) {
    const Attention call = operands.call();
    REQUIRE(append_kv(call, nullptr) == 0);
    if (decode ? rows > kMaxDecodeRows : kv > 1) continue;
    REQUIRE((decode ? decode_with_exact_workspace(call) : prefill_attention(call, nullptr)) == 0);
    for (int i = 0; i < rows * 2 * kv; ++i) {
      const int seen = causal ? past + i / (2 * kv) + 1 : past + rows;
      for (int d = 0; d < dim; ++d) {
        const double count = to_float(operands.o[size(i * dim + d)]) * double{1} * seen;
        const int expected = (seen - d + dim - 1) / dim;
        if (!(std::abs(count - expected) <= relative_error * expected))
          FAIL("row " << i << " counts " << count << " of " << expected
                      << (decode ? ", decode" : ", prefill"));
      }
    }
  }
  SUCCEED();
}

TEST_CASE("Attention reads every position once at every boundary of tiles and splits", "[cuda]") {
  for (int length = 1; length <= 140; ++length) check_count<f16>(length - 1, 1, 0, true);
  for (const int length : {1, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 256, 257, 300, 1000}) {
    for (const int slack : {0, 1, 1500, 9000}) check_count<bf16>(length - 1, 1, slack, true);
    check_count<float>(length - 1, 1, 200, true);
    check_count<f16>(length, 8, 64, true);
    check_count<f16>(length, 5, 0, false);
  }
  for (const int length : {95, 96, 97, 120, 300})  // 3 splits
    for (const int slack : {0, 500}) check_count<f16>(length - 1, 1, slack, true, 88);
  for (const int rows : {15, 16, 17, 63, 64, 65, 127, 128, 129}) {
    check_count<f16>(0, rows, 0, true);
    check_count<bf16>(61, rows, 0, true);
    check_count<float>(5, rows, 0, false);
  }
}

TEST_CASE("Attention does not overflow on large scores", "[cuda]") {
  Shape shape = {
      .query_heads = 2, .kv_heads = 1, .head_dim = 64, .past = 90, .rows = 8, .output_rows = 8};
  shape.query_range = 300;
  shape.rope = false;  // the rounding of rotated keys would exceed the tolerance
  check<bf16>(shape);
  check<f16>(shape);
}

TEST_CASE("Attention does not depend on the order of threads", "[cuda]") {
  Shape shape = {
      .query_heads = 4, .kv_heads = 2, .head_dim = 80, .past = 150, .rows = 7, .output_rows = 5};
  const auto bits = [&](bool decode) {
    Operands<bf16> operands(shape);
    const Attention call = operands.call();
    REQUIRE(append_kv(call, nullptr) == 0);
    REQUIRE((decode ? decode_with_exact_workspace(call) : prefill_attention(call, nullptr)) == 0);
    std::vector<std::uint16_t> result;
    for (const bf16 x : operands.o) result.push_back(x.bits);
    return result;
  };
  for (const bool int8_cache : {false, true})
    for (const bool decode : {false, true}) {
      shape.int8_cache = int8_cache;
      const auto once = bits(decode);
      simt::order = simt::Order::descending;
      const auto turned = bits(decode);
      simt::order = simt::Order::ascending;
      CHECK(once == turned);
    }
}

TEST_CASE("Attention refuses unsupported parameters", "[cuda]") {
  Operands<f16> operands(
      {.query_heads = 2, .kv_heads = 1, .head_dim = 64, .past = 4, .rows = 9, .output_rows = 9});
  Attention call = operands.call();
  CHECK(decode_attention(call, nullptr, nullptr) != 0);  // too many rows
  call.head_dim = 130;
  CHECK(prefill_attention(call, nullptr) != 0);
  call.head_dim = 64;
  call.o.type = Type::f32;
  CHECK(prefill_attention(call, nullptr) != 0);
}

TEST_CASE("The workspace of decode attention depends on max_kv_length and the heads", "[cuda]") {
  Attention call;
  call.output_rows = 1;
  call.num_query_heads = call.num_kv_heads = 32;
  call.head_dim = 128;
  call.max_kv_length = 2400;
  CHECK(decode_workspace_bytes(call) == 32 * 9 * 130 * 4);
  call.max_kv_length = 40;
  CHECK(decode_workspace_bytes(call) == 32 * 2 * 130 * 4);
  call.max_kv_length = 0;
  CHECK(decode_workspace_bytes(call) == 32 * 130 * 4);
}

TEST_CASE("Rows of a KV cache move to lower positions", "[cuda]") {
  struct Case {
    std::int64_t row_bytes, capacity, to, from, rows;
  };
  // Overlapping and disjoint ranges, rows that are no multiple of 16 bytes, one tile and several.
  for (const Case& c : {Case{256, 900, 3, 40, 860}, Case{256, 40, 0, 1, 39}, Case{48, 70, 5, 6, 64},
                        Case{13, 500, 0, 16, 480}, Case{13, 30, 2, 25, 5}, Case{2, 9, 4, 5, 0}})
    for (const bool scaled : {false, true})
      for (const auto order : {simt::Order::ascending, simt::Order::descending}) {
        CAPTURE(c.row_bytes, c.from, scaled);
        constexpr int kHeads = 3;
        std::vector<std::uint8_t> keys(size(kHeads * c.capacity * c.row_bytes + 16)), values = keys;
        std::vector<float> scales(size(2 * kHeads * c.capacity));
        for (std::size_t i = 0; i < keys.size(); ++i)
          keys[i] = static_cast<std::uint8_t>(i * i / 7), values[i] = static_cast<std::uint8_t>(i);
        for (std::size_t i = 0; i < scales.size(); ++i) scales[i] = static_cast<float>(i);
        const auto moved = [&](auto all, std::int64_t heads, std::int64_t width) {
          for (std::int64_t head = 0; head < heads; ++head) {
            const auto row = [&](std::int64_t n) {
              return all.begin() + (head * c.capacity + n) * width;
            };
            std::copy(row(c.from), row(c.from + c.rows), row(c.to));
          }
          return all;
        };
        const auto expected_keys = moved(keys, kHeads, c.row_bytes);
        const auto expected_values = moved(values, kHeads, c.row_bytes);
        const auto expected_scales = scaled ? moved(scales, 2 * kHeads, 1) : scales;
        KvMove move{keys.data(), values.data(), scaled ? scales.data() : nullptr,
                    c.capacity,  c.row_bytes,   c.to,
                    c.from,      c.rows,        kHeads};
        simt::order = order;
        CHECK(move_kv(move, nullptr) == 0);
        simt::order = simt::Order::ascending;
        CHECK(keys == expected_keys);
        CHECK(values == expected_values);
        CHECK(scales == expected_scales);
        move.to = move.from;
        CHECK(move_kv(move, nullptr) != 0);
      }
}

}  // namespace
