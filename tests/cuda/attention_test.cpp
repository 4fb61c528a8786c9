// The attention kernels on the executor, against loops in double precision.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

#include "launch.hpp"
#include "simt.cuh"
#include "support/catch.hpp"
#include "support/kernel_types.hpp"
#include "support/simt.hpp"

namespace {

using namespace pllava::cuda::kernels;

/// The largest error of results of about 1.
template <class T>
constexpr double tolerance = 1e-5;
template <>
constexpr double tolerance<f16> = 2e-3;
template <>
constexpr double tolerance<bf16> = 1.5e-2;

template <class T>
T poison() {
  return from_float<T>(std::numeric_limits<float>::quiet_NaN());
}

std::size_t size(std::int64_t n) {
  return static_cast<std::size_t>(n);
}

struct Shape {
  int query = 1, kv = 1, dim = 64, past = 0, rows = 1, wanted = 1;
  int batch = 1;
  bool causal = true, rope = true, cache = true;
  int more_bound = 0;  // by which the host overestimates the length
  float spread = 1.5f;
  int shift = 0;       // of qkv from alignment, in numbers
  bool bytes = false;  // the cache has 8 bits

  std::string str() const {
    std::string text = "heads " + std::to_string(query) + ":" + std::to_string(kv);
    text += " dim " + std::to_string(dim) + " past " + std::to_string(past);
    text += " rows " + std::to_string(rows) + " wanted " + std::to_string(wanted);
    return text + " batch " + std::to_string(batch) + " bound +" + std::to_string(more_bound);
  }
};

/// The memory of one call, NaN wherever nothing may be read.
template <class T>
class Memory {
 public:
  explicit Memory(const Shape& shape)
      : s(shape), capacity(s.past + s.rows + 5), width((s.query + 2 * s.kv) * s.dim) {
    std::mt19937 random(static_cast<unsigned>(s.past * 131 + s.rows * 7 + s.dim));
    std::uniform_real_distribution<float> uniform(-1, 1);
    qkv.assign(size(s.shift + s.batch * s.rows * width), poison<T>());
    for (std::int64_t i = 0; i < s.batch * s.rows * width; ++i)
      qkv[size(s.shift + i)] =
          from_float<T>(uniform(random) * (i % width < s.query * s.dim ? s.spread : 1.0f));
    keys.assign(size(s.kv * capacity * s.dim), poison<T>());
    values = keys;
    if (s.bytes) {
      key_bytes.resize(keys.size());
      value_bytes.resize(keys.size());
      scales.assign(size(2 * s.kv * capacity), std::numeric_limits<float>::quiet_NaN());
      for (auto* all : {&key_bytes, &value_bytes})
        for (std::uint8_t& byte : *all) byte = static_cast<std::uint8_t>(1 + random() % 255);
      for (int h = 0; h < 2 * s.kv; ++h)
        for (int p = 0; p < s.past; ++p)
          scales[size(h * capacity + p)] = (1.0f + uniform(random) / 2) / 127;
    }
    for (int h = 0; h < s.kv; ++h)
      for (std::int64_t i = 0; i < std::int64_t{s.past} * s.dim; ++i) {
        keys[size(h * capacity * s.dim + i)] = from_float<T>(uniform(random));
        values[size(h * capacity * s.dim + i)] = from_float<T>(uniform(random));
      }
    rope.assign(size((s.past + s.rows) * s.dim), 0.0f);
    const int half = s.dim / 2;
    for (int p = 0; p < s.past + s.rows; ++p)
      for (int d = 0; d < half; ++d) {
        const double angle = p * std::pow(10000.0, -static_cast<double>(d) / half);
        rope[size(p * s.dim + d)] = static_cast<float>(std::cos(angle));
        rope[size(p * s.dim + half + d)] = static_cast<float>(std::sin(angle));
      }
  }

  Attention call() {
    Attention call;
    call.qkv = {qkv.data() + s.shift, type_of<T>};
    o.assign(size(s.batch * s.wanted * s.query * s.dim + 8), poison<T>());
    call.o = {o.data(), type_of<T>};
    call.rope = s.rope ? rope.data() : nullptr;
    if (s.cache) {
      call.keys = s.bytes ? static_cast<void*>(key_bytes.data()) : keys.data();
      call.values = s.bytes ? static_cast<void*>(value_bytes.data()) : values.data();
      call.scales = s.bytes ? scales.data() : nullptr;
      call.past = &s.past;
      call.capacity = capacity;
      call.bound = s.past + s.rows + s.more_bound;
    }
    call.rows = s.rows;
    call.wanted = s.wanted;
    call.batch = s.batch;
    call.query = s.query;
    call.kv = s.kv;
    call.dim = s.dim;
    call.causal = s.causal;
    return call;
  }

  double fresh(int b, int n, int head, int d) const {
    return to_float(qkv[size(s.shift + (b * s.rows + n) * width + head * s.dim + d)]);
  }
  double rotated(int b, int n, int head, int d) const {
    if (!s.rope) return fresh(b, n, head, d);
    const int half = s.dim / 2, angle = (s.past + n) * s.dim + d % half;
    const double other = d < half ? -fresh(b, n, head, d + half) : fresh(b, n, head, d - half);
    return fresh(b, n, head, d) * rope[size(angle)] + other * rope[size(angle + half)];
  }
  /// What a cache of 8 bits holds; part 0 are keys, 1 values.
  double number(int part, int p, int head, int d) const {
    const auto& bytes = part == 0 ? key_bytes : value_bytes;
    return double{scales[size((part * s.kv + head) * capacity + p)]} *
           (bytes[size((head * capacity + p) * s.dim + d)] - 128);
  }
  double key(int b, int p, int head, int d) const {
    if (s.bytes) return number(0, p, head, d);
    return p < s.past ? to_float(keys[size((head * capacity + p) * s.dim + d)])
                      : rotated(b, p - s.past, s.query + head, d);
  }
  double value(int b, int p, int head, int d) const {
    if (s.bytes) return number(1, p, head, d);
    return p < s.past ? to_float(values[size((head * capacity + p) * s.dim + d)])
                      : fresh(b, p - s.past, s.query + s.kv + head, d);
  }

  std::vector<double> expected() const {
    std::vector<double> result;
    std::vector<double> k(size((s.past + s.rows) * s.dim)), v(k.size()), q(size(s.dim));
    result.resize(size(s.batch * s.wanted * s.query * s.dim));
    for (int b = 0; b < s.batch; ++b)
      for (int head = 0; head < s.query; ++head) {
        const int group = s.query / s.kv;
        if (head % group == 0)
          for (int p = 0; p < s.past + s.rows; ++p)
            for (int d = 0; d < s.dim; ++d) {
              k[size(p * s.dim + d)] = key(b, p, head / group, d);
              v[size(p * s.dim + d)] = value(b, p, head / group, d);
            }
        for (int m = 0; m < s.wanted; ++m) {
          const int n = s.rows - s.wanted + m, seen = s.causal ? s.past + n + 1 : s.past + s.rows;
          for (int d = 0; d < s.dim; ++d) q[size(d)] = rotated(b, n, head, d);
          std::vector<double> weight(size(seen));
          double high = -std::numeric_limits<double>::infinity(), total = 0;
          for (int p = 0; p < seen; ++p) {
            double sum = 0;
            for (int d = 0; d < s.dim; ++d) sum += q[size(d)] * k[size(p * s.dim + d)];
            weight[size(p)] = sum / std::sqrt(static_cast<double>(s.dim));
            high = std::max(high, weight[size(p)]);
          }
          for (double& w : weight) total += w = std::exp(w - high);
          double* const out = &result[size(((b * s.wanted + m) * s.query + head) * s.dim)];
          for (int p = 0; p < seen; ++p)
            for (int d = 0; d < s.dim; ++d)
              out[d] += weight[size(p)] / total * v[size(p * s.dim + d)];
        }
      }
    return result;
  }

  /// The largest error; infinite where a number is missing or written behind the end.
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

/// attend_few() with exactly the memory that it asks for.
int attend_few_exactly(const Attention& call) {
  const std::int64_t bytes = attend_few_bytes(call);
  REQUIRE(bytes % 4 == 0);
  std::vector<float> partials(size(bytes / 4 + 4), std::numeric_limits<float>::quiet_NaN());
  const int status = attend_few(call, partials.data(), nullptr);
  for (std::size_t i = partials.size() - 4; i < partials.size(); ++i)
    if (!std::isnan(partials[i])) FAIL("written behind the partial results");
  return status;
}

template <class T>
void check(const Shape& shape) {
  INFO(shape.str());
  Memory<T> memory(shape);
  const Attention call = memory.call();
  if (shape.cache) REQUIRE(append(call, nullptr) == 0);
  const std::vector<double> expected = memory.expected();
  REQUIRE(attend_tiles(call, nullptr) == 0);
  CHECK(memory.error(expected) < tolerance<T>);
  if (!shape.cache || shape.rows > kFewRows) return;
  const Attention again = memory.call();
  REQUIRE(attend_few_exactly(again) == 0);
  CHECK(memory.error(expected) < tolerance<T>);
}

template <class T>
void check_appended(const Shape& shape) {
  INFO(shape.str());
  Memory<T> memory(shape);
  const Memory<T> before = memory;
  REQUIRE(append(memory.call(), nullptr) == 0);
  for (int h = 0; h < shape.kv; ++h)
    for (int p = 0; p < memory.capacity; ++p)
      for (int d = 0; d < shape.dim; ++d) {
        const double key = to_float(memory.keys[size((h * memory.capacity + p) * shape.dim + d)]);
        const double value =
            to_float(memory.values[size((h * memory.capacity + p) * shape.dim + d)]);
        if (p >= shape.past + shape.rows) {
          REQUIRE((std::isnan(key) && std::isnan(value)));
        } else {
          REQUIRE(std::abs(key - before.key(0, p, h, d)) <= tolerance<T> / 2);
          REQUIRE(value == before.value(0, p, h, d));
        }
      }
}

TEST_CASE("Keys and values are appended to the cache", "[cuda]") {
  for (const int dim : {2, 10, 18, 64, 80, 128})
    for (const bool rope : {true, false}) {
      Shape shape = {.query = 4, .kv = 2, .dim = dim, .past = 3, .rows = 5, .rope = rope};
      check_appended<float>(shape);
      check_appended<f16>(shape);
      check_appended<bf16>(shape);
      shape.shift = 1;
      check_appended<f16>(shape);
    }
  check_appended<bf16>({.dim = 7, .past = 0, .rows = 3, .rope = false});
}

template <class T>
void check_rounded(const Shape& shape) {
  INFO(shape.str());
  Memory<T> memory(shape);
  const Memory<T> before = memory;
  REQUIRE(append(memory.call(), nullptr) == 0);
  for (int part = 0; part < 2; ++part)
    for (int h = 0; h < shape.kv; ++h)
      for (int p = 0; p < memory.capacity; ++p) {
        const float scale = memory.scales[size((part * shape.kv + h) * memory.capacity + p)];
        REQUIRE(std::isnan(scale) == (p >= shape.past + shape.rows));
        if (std::isnan(scale)) continue;
        double top = 0;
        for (int d = 0; d < shape.dim; ++d) {
          const double got = memory.number(part, p, h, d);
          if (p < shape.past) {
            REQUIRE(got == before.number(part, p, h, d));
            continue;
          }
          const int n = p - shape.past;
          const double exact = part == 0 ? before.rotated(0, n, shape.query + h, d)
                                         : before.fresh(0, n, shape.query + shape.kv + h, d);
          REQUIRE(std::abs(got - exact) <= 0.5001 * double{scale});
          top = std::max(top, std::abs(exact));
        }
        if (p >= shape.past) REQUIRE(double{scale} == Approx(top / 127).epsilon(1e-5));
      }
}

TEST_CASE("Keys and values are rounded to 8 bits, each row of a head in its own unit", "[cuda]") {
  for (const int dim : {2, 10, 64, 80, 128})
    for (const bool rope : {true, false}) {
      const Shape shape = {
          .query = 4, .kv = 2, .dim = dim, .past = 3, .rows = 5, .rope = rope, .bytes = true};
      check_rounded<float>(shape);
      check_rounded<f16>(shape);
      check_rounded<bf16>(shape);
    }
  check_rounded<bf16>({.dim = 7, .past = 0, .rows = 3, .rope = false, .bytes = true});
}

TEST_CASE("A row that is not finite shows in a cache of 8 bits", "[cuda]") {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), HUGE_VALF}) {
    Memory<float> memory({.dim = 40, .past = 2, .rows = 1, .rope = false, .bytes = true});
    memory.qkv[size(memory.s.dim + 33)] = bad;  // of the key
    REQUIRE(append(memory.call(), nullptr) == 0);
    CHECK(std::isnan(memory.scales[2]));
    CHECK(std::isfinite(memory.scales[size(memory.capacity + 2)]));
  }
}

/// Lengths, and of each every few combinations with the others, different ones for each `turn`.
template <class T>
void check_lengths(int query, int kv, int dim, int turn, bool bytes = false) {
  int i = turn;
  for (const int past : {0, 3, 31, 255, 300})
    for (const int rows : {1, 2, 8, 33, 65, 130}) {
      const int wanted = i % 3 == 0 ? 0 : i % 3 == 1 ? 1 : rows;
      if (i++ % 6 != 0 && rows > 8) continue;
      Shape shape = {.query = query, .kv = kv, .dim = dim, .past = past, .rows = rows};
      shape.wanted = wanted;
      shape.causal = i % 5 != 0;
      shape.rope = i % 7 != 0;
      shape.more_bound = i % 2 * 700;
      shape.bytes = bytes;
      check<T>(shape);
    }
}

TEMPLATE_TEST_CASE("Attention with a cache equals plain loops", "[cuda]", float, f16, bf16) {
  int turn = 0;
  for (const int dim : {2, 10, 18, 64, 80, 128}) {
    check_lengths<TestType>(1, 1, dim, turn++);
    check_lengths<TestType>(7, 1, dim, turn++);
    check_lengths<TestType>(4, 2, dim, turn++);
  }
}

TEMPLATE_TEST_CASE("Attention with a cache of 8 bits equals plain loops", "[cuda]", float, f16,
                   bf16) {
  int turn = 0;
  for (const int dim : {10, 64, 80, 128}) {
    check_lengths<TestType>(1, 1, dim, turn++, true);
    check_lengths<TestType>(4, 2, dim, turn++, true);
    check_lengths<TestType>(7, 1, dim, turn++, true);
  }
}

TEMPLATE_TEST_CASE("Attention without a cache equals plain loops", "[cuda]", float, f16, bf16) {
  for (const int rows : {1, 37, 64, 65, 130})
    for (const int dim : {10, 64, 80}) {
      Shape shape = {.query = 2, .kv = 2, .dim = dim, .rows = rows, .wanted = rows, .batch = 3};
      shape.cache = shape.causal = shape.rope = false;
      check<TestType>(shape);
      shape.kv = 1;
      shape.wanted = 1;
      shape.causal = shape.rope = true;
      check<TestType>(shape);
      shape.wanted = (rows + 1) / 2;
      shape.rope = false;
      check<TestType>(shape);
    }
}

TEST_CASE("Rows that are not aligned are read one number at a time", "[cuda]") {
  for (const int dim : {7, 64, 72, 96}) {
    Shape shape = {.query = 2, .kv = 1, .dim = dim, .past = 70, .rows = 6, .wanted = 6};
    shape.rope = dim % 2 == 0;
    for (const int shift : {0, 1}) {
      shape.shift = shift;
      check<f16>(shape);
      check<float>(shape);
    }
  }
}

/// With queries of 0 every position weighs the same, and value d counts positions p % dim == d.
template <class T>
void check_count(int past, int rows, int more_bound, bool causal, int kv = 1) {
  constexpr int dim = 64;
  Shape shape = {.query = 2 * kv, .kv = kv, .dim = dim, .past = past, .rows = rows, .wanted = rows};
  shape.rope = false;
  shape.causal = causal;
  shape.spread = 0;
  shape.more_bound = more_bound;
  INFO(shape.str());
  Memory<T> memory(shape);
  const auto one = [](int p, int d) { return from_float<T>(p % dim == d ? 1.0f : 0.0f); };
  for (int h = 0; h < kv; ++h)
    for (int d = 0; d < dim; ++d) {
      for (int p = 0; p < past; ++p)
        memory.values[size((h * memory.capacity + p) * dim + d)] = one(p, d);
      for (int n = 0; n < rows; ++n)
        memory.qkv[size(n * memory.width + (3 * kv + h) * dim + d)] = one(past + n, d);
    }
  const double exact = std::is_same_v<T, float> ? 1e-5 : std::is_same_v<T, f16> ? 1e-3 : 6e-3;
  for (const bool few : {false, true}) {
    const Attention call = memory.call();
    REQUIRE(append(call, nullptr) == 0);
    if (few ? rows > kFewRows : kv > 1) continue;
    REQUIRE((few ? attend_few_exactly(call) : attend_tiles(call, nullptr)) == 0);
    for (int i = 0; i < rows * 2 * kv; ++i) {
      const int seen = causal ? past + i / (2 * kv) + 1 : past + rows;
      for (int d = 0; d < dim; ++d) {
        const double count = to_float(memory.o[size(i * dim + d)]) * double{1} * seen;
        const int right = (seen - d + dim - 1) / dim;
        if (!(std::abs(count - right) <= exact * right))
          FAIL("row " << i << " counts " << count << " of " << right << (few ? ", few" : ""));
      }
    }
  }
  SUCCEED();
}

TEST_CASE("Every position counts once at every boundary of tiles and splits", "[cuda]") {
  for (int length = 1; length <= 140; ++length) check_count<f16>(length - 1, 1, 0, true);
  for (const int length : {1, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 256, 257, 300, 1000}) {
    for (const int more : {0, 1, 1500, 9000}) check_count<bf16>(length - 1, 1, more, true);
    check_count<float>(length - 1, 1, 200, true);
    check_count<f16>(length, 8, 64, true);
    check_count<f16>(length, 5, 0, false);
  }
  for (const int length : {95, 96, 97, 120, 300})  // 3 blocks to a head
    for (const int more : {0, 500}) check_count<f16>(length - 1, 1, more, true, 88);
  for (const int rows : {15, 16, 17, 63, 64, 65, 127, 128, 129}) {
    check_count<f16>(0, rows, 0, true);
    check_count<bf16>(61, rows, 0, true);
    check_count<float>(5, rows, 0, false);
  }
}

TEST_CASE("Large scores do not overflow", "[cuda]") {
  Shape shape = {.query = 2, .kv = 1, .dim = 64, .past = 90, .rows = 8, .wanted = 8};
  shape.spread = 300;
  shape.rope = false;  // rounding rotated keys would show
  check<bf16>(shape);
  check<f16>(shape);
}

TEST_CASE("Attention does not depend on the order of threads, and repeats itself", "[cuda]") {
  Shape shape = {.query = 4, .kv = 2, .dim = 80, .past = 150, .rows = 7, .wanted = 5};
  const auto bits = [&](bool few) {
    Memory<bf16> memory(shape);
    const Attention call = memory.call();
    REQUIRE(append(call, nullptr) == 0);
    REQUIRE((few ? attend_few_exactly(call) : attend_tiles(call, nullptr)) == 0);
    std::vector<std::uint16_t> result;
    for (const bf16 x : memory.o) result.push_back(x.bits);
    return result;
  };
  for (const bool few : {false, true}) {
    const auto once = bits(few);
    simt::order = simt::Order::descending;
    const auto turned = bits(few);
    simt::order = simt::Order::ascending;
    CHECK(once == turned);
  }
}

TEST_CASE("What the kernels cannot do is an error", "[cuda]") {
  Memory<f16> memory({.query = 2, .kv = 1, .dim = 64, .past = 4, .rows = 9, .wanted = 9});
  Attention call = memory.call();
  CHECK(attend_few(call, nullptr, nullptr) != 0);  // too many rows
  call.dim = 130;
  CHECK(attend_tiles(call, nullptr) != 0);
  call.dim = 64;
  call.o.type = Type::f32;
  CHECK(attend_tiles(call, nullptr) != 0);
}

TEST_CASE("The splits follow the bound and the heads, not the past", "[cuda]") {
  Attention call;
  call.wanted = 1;
  call.query = call.kv = 32;
  call.dim = 128;
  call.bound = 2400;
  CHECK(attend_few_bytes(call) == 32 * 9 * 130 * 4);
  call.bound = 40;
  CHECK(attend_few_bytes(call) == 32 * 2 * 130 * 4);
  call.bound = 0;
  CHECK(attend_few_bytes(call) == 32 * 130 * 4);
}

}  // namespace
