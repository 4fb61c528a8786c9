// Linear layers with int8 and int4 weights, and attention over an int8 KV cache. Integer products
// are exact: every instruction set gives the results of scalar loops, bit for bit.
#include <algorithm>
#include <cmath>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include "pllava/cpu/backend.hpp"
#include "pllava/pllava.hpp"
#include "pllava/reference/backend.hpp"
#include "support/catch.hpp"
#include "support/isas.hpp"
#include "support/tensors.hpp"

namespace {

using namespace pllava;
using B = cpu::Backend;
using Values = std::vector<float>;

const std::vector<Quantization> kFormats = {{.format = WeightFormat::int8},
                                            {.format = WeightFormat::int4, .group = 32},
                                            {WeightFormat::int4, 32, true},
                                            {WeightFormat::int4, 128, true}};

HostTensor host(const Values& values, const Shape& shape, const Quantization& q) {
  return {DType::f32, shape, reinterpret_cast<const std::byte*>(values.data()), nullptr, q};
}

template <class Be>
Values linear_output(Be be, const Values& w, const Values& x, Index rows, Index out, Index in,
                     const Quantization& q) {
  const HostTensor matrix = host(w, {out, in}, q);
  const Linear<typename Be::Weight> linear{
      be.prepare({&matrix, 1}, WeightRole::linear), {}, out, in};
  auto lhs = test::tensor(be, x, {rows, in}, be.activation_dtype());
  Tensor<Be> y(be, {rows, out}, DType::f32);
  ops::linear(be, y.view(), lhs.view(), linear);
  return detail::to_floats(be, y);
}

/// The row, rotated and quantized to int8; returns its scale.
float quantize_activations(std::span<float> row) {
  rotate(row);
  float max = 0;
  for (const float v : row) max = std::max(max, std::fabs(v));
  for (float& v : row) v = max > 0 ? std::nearbyint(v * (127 / max)) : 0;
  return max / 127;
}

Values scalar_output(const Values& w, Values x, Index rows, Index out, Index in,
                     const Quantization& q) {
  const auto K = static_cast<std::size_t>(in);
  Values y;
  for (Index r = 0; r < rows; ++r) {
    const auto row_of_x = std::span(x).subspan(static_cast<std::size_t>(r) * K, K);
    const float scale = quantize_activations(row_of_x);
    for (Index o = 0; o < out; ++o) {
      const QuantizedRow row =
          quantize(std::span(w).subspan(static_cast<std::size_t>(o) * K, K), q);
      std::int32_t sum = 0;
      for (std::size_t k = 0; k < K; ++k)
        sum += row.int8_value(q, k) * static_cast<int>(row_of_x[k]);
      y.push_back(static_cast<float>(sum) * row.channel_scale * scale);
    }
  }
  return y;
}

TEST_CASE("linear with quantized weights equals scalar loops bit for bit", "[quantized_linear]") {
  using Size = std::tuple<Index, Index, Index>;
  for (const cpu::Isa isa : test::supported_isas()) {
    for (const Quantization& q : kFormats)
      for (const auto& [rows, out, in] :
           {Size{1, 1, 1}, Size{1, 33, 65}, Size{2, 31, 2}, Size{3, 64, 7}, Size{4, 40, 128},
            Size{5, 70, 64}, Size{6, 5, 31}, Size{9, 32, 129}, Size{15, 5, 300},
            Size{29, 40, 31}}) {
        INFO(cpu::kernels(isa).name << ' ' << name_of(q.format) << " of " << q.group << " rows "
                                    << rows << " out " << out << " in " << in);
        const Values w = test::uniform(out * in, 3), x = test::uniform(rows * in, 4);
        const B be({.dtype = DType::f32, .threads = 2, .isa = isa});
        CHECK(linear_output(be.fork(), w, x, rows, out, in, q) ==
              scalar_output(w, x, rows, out, in, q));
      }
  }
}

TEST_CASE("the result of a row does not depend on the other rows", "[quantized_linear]") {
  constexpr Index kOut = 70, kIn = 192;
  const Values w = test::uniform(kOut * kIn, 5), x = test::uniform(30 * kIn, 6);
  for (const cpu::Isa isa : test::supported_isas()) {
    for (const Quantization& q : kFormats) {
      const B be({.dtype = DType::bf16, .threads = 2, .isa = isa});
      const Values whole = linear_output(be.fork(), w, x, 30, kOut, kIn, q);
      for (const Index rows : {1, 2, 4, 13}) {
        const Values part = linear_output(be.fork(), w, Values(x.begin(), x.begin() + rows * kIn),
                                          rows, kOut, kIn, q);
        CHECK(part == Values(whole.begin(), whole.begin() + rows * kOut));
      }
    }
  }
}

TEST_CASE("quantizing activations to int8 keeps the error below 0.9 %", "[quantized_linear]") {
  const Values w = test::uniform(64 * 300, 7), x = test::uniform(20 * 300, 8);
  for (const cpu::Isa isa : test::supported_isas()) {
    for (const Quantization& q : kFormats) {
      const B be({.dtype = DType::f32, .threads = 2, .isa = isa});
      CHECK(test::distance(linear_output(be.fork(), w, x, 20, 64, 300, q),
                           linear_output(reference::Backend(), w, x, 20, 64, 300, q)) < 9e-3);
    }
  }
}

template <class Be>
Values glu_output(Be be, const Quantization& q) {
  constexpr Index kRows = 5, kFfn = 50, kIn = 96;
  const Values gate = test::uniform(kFfn * kIn, 9), up = test::uniform(kFfn * kIn, 10);
  const std::vector<HostTensor> parts = {host(gate, {kFfn, kIn}, q), host(up, {kFfn, kIn}, q)};
  const Linear<typename Be::Weight> w{be.prepare(parts, WeightRole::gate_up), {}, kFfn, kIn};
  const auto h =
      test::tensor(be, test::uniform(kRows * kIn, 11), {kRows, kIn}, be.activation_dtype());
  Tensor<Be> g(be, {kRows, kFfn}, DType::f32);
  ops::glu(be, g.view(), h.view(), w, Activation::silu);
  return detail::to_floats(be, g);
}

TEST_CASE("glu quantizes gate and up separately", "[quantized_linear]") {
  for (const Quantization& q : kFormats)
    CHECK(test::distance(glu_output(B({.dtype = DType::f32, .threads = 2}), q),
                         glu_output(reference::Backend(), q)) < 1e-2);
}

TEST_CASE("linear maps zero rows to zero", "[quantized_linear]") {
  const Values zeros(3 * 40, 0.0f);
  CHECK(linear_output(B({.threads = 1}), test::uniform(8 * 40, 1), zeros, 3, 8, 40,
                      {.format = WeightFormat::int8}) == Values(24, 0.0f));
}

TEST_CASE("prepare rejects weights that are not finite and matrices that are too wide",
          "[quantized_linear]") {
  const Quantization q{.format = WeightFormat::int8};
  B be({.threads = 1});
  Values bad = test::uniform(8 * 40, 1);
  bad[100] = NAN;
  HostTensor not_finite = host(bad, {8, 40}, q);
  not_finite.name = "layers.0.fc1.weight";
  CHECK_THROWS_AS(be.prepare({&not_finite, 1}, WeightRole::linear), LoadError);
  try {
    be.prepare({&not_finite, 1}, WeightRole::linear);
  } catch (const LoadError& error) {
    CHECK(error.tensor() == "layers.0.fc1.weight");
    CHECK(std::string(error.what()).find("row 2") != std::string::npos);
  }
  const Values wide(65'537, 1.0f);
  const HostTensor too_wide = host(wide, {1, 65'537}, q);
  CHECK_THROWS_AS(be.prepare({&too_wide, 1}, WeightRole::linear), ArgumentError);
}

/// Attention with RoPE: the output of the last `rows` rows after a prefill of `past` rows.
Values attention_output(B be, const Heads& heads, Index past, Index rows) {
  const Index width = heads.qkv_width(), length = past + rows, dh = heads.head_dim;
  Values angles;
  for (Index i = 0; i < length * dh; ++i)
    angles.push_back(i % dh < dh / 2 ? std::cos(0.01f * static_cast<float>(i))
                                     : std::sin(0.01f * static_cast<float>(i - dh / 2)));
  const Rope<typename B::Weight> rope{test::weight(be, angles, {length, dh}, WeightRole::vector)};
  const DType act = be.activation_dtype();
  KvCache<B> kv(be, 1, heads, length);
  auto qkv = test::tensor(be, test::uniform(length * width, 12), {length, width}, act);
  Tensor<B> o(be, {rows, heads.num_query_heads * dh}, act);
  if (past > 0) {
    Tensor<B> no_output(be, {0, heads.num_query_heads * dh}, act);
    ops::attend(be, no_output.view(), qkv.view().slice(0, past),
                {heads, &rope, &kv.layer(0), kv.next_positions(past), Mask::causal});
    kv.commit(be, past);
  }
  ops::attend(be, o.view(), qkv.view().slice(past, rows),
              {heads, &rope, &kv.layer(0), kv.next_positions(rows), Mask::causal});
  return detail::to_floats(be, o);
}

TEST_CASE("an int8 KV cache changes attention by less than 1 %", "[quantized_linear]") {
  for (const cpu::Isa isa : test::supported_isas()) {
    for (const DType dtype : {DType::f32, DType::bf16})
      for (const auto& [heads, past, rows] : {std::tuple{Heads{4, 2, 64}, Index{300}, Index{1}},
                                              std::tuple{Heads{7, 1, 10}, Index{31}, Index{2}},
                                              std::tuple{Heads{16, 2, 20}, Index{260}, Index{1}},
                                              std::tuple{Heads{2, 2, 80}, Index{5}, Index{290}},
                                              std::tuple{Heads{1, 1, 2}, Index{0}, Index{1}}}) {
        INFO(cpu::kernels(isa).name << ' ' << name_of(dtype) << " dim " << heads.head_dim);
        const auto with = [&](bool int8_kv) {
          return attention_output(B({.dtype = dtype, .threads = 2, .isa = isa, .int8_kv = int8_kv}),
                                  heads, past, rows);
        };
        const double error = test::distance(with(true), with(false));
        if (heads.head_dim > 2) CHECK(error > 0);  // two values can round alike
        CHECK(error < 0.01);
      }
  }
}

TEST_CASE("tables and vectors are never quantized", "[quantized_linear]") {
  B be({.threads = 1});
  const Values values = test::uniform(6 * 10, 2);
  const HostTensor t = host(values, {6, 10}, {.format = WeightFormat::int8});
  CHECK(be.prepare({&t, 1}, WeightRole::table).quantization == Quantization{});
  CHECK(be.prepare({&t, 1}, WeightRole::vector).quantization == Quantization{});
}

}  // namespace
