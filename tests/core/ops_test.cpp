// Every verb of every backend against the reference backend, at sizes below, at and above each tile
// and panel size. Inputs are exact in bf16, so only the arithmetic differs.
#include "pllava/core/ops.hpp"

#include <string>
#include <tuple>
#include <vector>

#include "pllava/pllava.hpp"
#include "pllava/reference/backend.hpp"
#include "support/catch.hpp"
#include "support/subjects.hpp"
#include "support/tensors.hpp"

namespace {

using namespace pllava;
using Values = std::vector<float>;

template <Backend B>
Linear<typename B::Weight> make_linear(B& be, Index out, Index in, bool bias) {
  Linear<typename B::Weight> w{
      test::weight(be, test::uniform(out * in, 11), {out, in}, WeightRole::linear), {}, out, in};
  if (bias) w.bias = test::weight(be, test::uniform(out, 12), {out}, WeightRole::vector);
  return w;
}

template <Backend B>
Values linear(B be, Index rows, Index out, Index in, bool bias, Activation act) {
  const auto w = make_linear(be, out, in, bias);
  auto x = test::tensor(be, test::uniform(rows * in, 1), {rows, in}, be.activation_dtype());
  Tensor<B> y(be, {rows, out}, DType::f32);
  ops::linear(be, y.view(), x.view(), w, act);
  return detail::to_floats(be, y);
}

TEST_CASE("linear matches the reference on every backend", "[ops]") {
  using Size = std::tuple<Index, Index, Index>;
  test::each_backend_and_isa([&](const auto& s) {
    for (const auto& [rows, out, in] :
         {Size{1, 1, 1}, Size{1, 33, 65}, Size{2, 31, 2}, Size{3, 64, 7}, Size{5, 70, 64},
          Size{9, 32, 129}, Size{14, 96, 33}, Size{15, 5, 300}, Size{29, 40, 31}}) {
      INFO(s.name() << " rows " << rows << " out " << out << " in " << in);
      const Values expected = linear(reference::Backend(), rows, out, in, true, Activation::none);
      CHECK(test::distance(linear(s.backend(), rows, out, in, true, Activation::none), expected) <
            s.tolerance);
    }
  });
}

TEST_CASE("linear matches the reference for every activation, with and without bias", "[ops]") {
  test::each_backend_and_isa([&](const auto& s) {
    for (const Activation act : {Activation::none, Activation::quick_gelu, Activation::gelu,
                                 Activation::gelu_tanh, Activation::silu})
      for (const bool bias : {false, true}) {
        INFO(s.name() << " activation " << static_cast<int>(act) << " bias " << bias);
        CHECK(test::distance(linear(s.backend(), 3, 50, 20, bias, act),
                             linear(reference::Backend(), 3, 50, 20, bias, act)) < s.tolerance);
      }
  });
}

/// x and h of two calls: a backend that synchronizes kernels with counters must reset them.
template <Backend B>
Values residual_then_norm(B be, NormKind kind, Index rows, Index out, Index in) {
  const auto w = make_linear(be, out, in, true);
  Norm<typename B::Weight> next{
      kind, test::weight(be, test::uniform(out, 21), {out}, WeightRole::vector), {}, 1e-5f};
  if (kind == NormKind::layer)
    next.bias = test::weight(be, test::uniform(out, 22), {out}, WeightRole::vector);
  auto x = test::tensor(be, test::uniform(rows * out, 2), {rows, out}, DType::f32);
  auto y = test::tensor(be, test::uniform(rows * in, 3), {rows, in}, be.activation_dtype());
  Tensor<B> h(be, {rows, out}, be.activation_dtype());
  Values all;
  for (int call = 0; call < 2; ++call) {
    ops::residual(be, x.view(), h.view(), y.view(), w, &next);
    for (Tensor<B>* t : {&x, &h}) {
      const Values got = detail::to_floats(be, *t);
      all.insert(all.end(), got.begin(), got.end());
    }
  }
  return all;
}

TEST_CASE("residual adds the branch and applies the next norm", "[ops]") {
  using Size = std::tuple<Index, Index, Index>;
  test::each_backend_and_isa([&](const auto& s) {
    for (const auto& [rows, out, in] : {Size{1, 5, 3}, Size{1, 8, 300}, Size{1, 129, 37},
                                        Size{2, 45, 37}, Size{6, 45, 37}, Size{17, 45, 37}})
      for (const NormKind kind : {NormKind::layer, NormKind::rms}) {
        INFO(s.name() << " rows " << rows << " out " << out << " in " << in);
        CHECK(test::distance(residual_then_norm(s.backend(), kind, rows, out, in),
                             residual_then_norm(reference::Backend(), kind, rows, out, in)) <
              s.tolerance);
      }
  });
}

template <Backend B>
Values glu(B be, Index rows, Index ffn, Index in) {
  const Values gate = test::uniform(ffn * in, 31), up = test::uniform(ffn * in, 32);
  const auto host = [&](const Values& v) {
    return HostTensor{DType::f32, {ffn, in}, reinterpret_cast<const std::byte*>(v.data()), nullptr};
  };
  const std::vector<HostTensor> parts = {host(gate), host(up)};
  const Linear<typename B::Weight> w{be.prepare(parts, WeightRole::gate_up), {}, ffn, in};
  auto h = test::tensor(be, test::uniform(rows * in, 4), {rows, in}, be.activation_dtype());
  Tensor<B> g(be, {rows, ffn}, be.activation_dtype());
  ops::glu(be, g.view(), h.view(), w, Activation::silu);
  return detail::to_floats(be, g);
}

TEST_CASE("glu matches the reference on every backend", "[ops]") {
  test::each_backend_and_isa([&](const auto& s) {
    for (const Index ffn : {1, 15, 16, 17, 50})
      for (const Index rows : {1, 4, 16}) {
        INFO(s.name() << " ffn " << ffn << " rows " << rows);
        CHECK(test::distance(glu(s.backend(), rows, ffn, 23),
                             glu(reference::Backend(), rows, ffn, 23)) < s.tolerance);
      }
  });
}

template <Backend B>
Values norm(B be, NormKind kind, Index width) {
  Norm<typename B::Weight> n{
      kind, test::weight(be, test::uniform(width, 41), {width}, WeightRole::vector), {}, 1e-5f};
  if (kind == NormKind::layer)
    n.bias = test::weight(be, test::uniform(width, 42), {width}, WeightRole::vector);
  auto x = test::tensor(be, test::uniform(3 * width, 5), {3, width}, DType::f32);
  Tensor<B> y(be, {3, width}, be.activation_dtype());
  ops::norm(be, y.view(), x.view(), n);
  return detail::to_floats(be, y);
}

TEST_CASE("LayerNorm and RMSNorm match the reference at any width", "[ops]") {
  test::each_backend_and_isa([&](const auto& s) {
    for (const NormKind kind : {NormKind::layer, NormKind::rms})
      for (const Index width : {2, 15, 16, 31, 100}) {
        INFO(s.name() << " width " << width);
        CHECK(test::distance(norm(s.backend(), kind, width),
                             norm(reference::Backend(), kind, width)) < s.tolerance);
      }
  });
}

struct AttentionCase {
  Heads heads;
  Index past, rows, batch = 1;
  bool causal = true, rope = true, cached = true;
  Index output_rows = -1;  // -1: all rows
};

/// Appends `past` rows to the cache, then attends with `rows` more rows.
template <Backend B>
Values attend(B be, const AttentionCase& c) {
  const Index width = c.heads.qkv_width(), dh = c.heads.head_dim, length = c.past + c.rows;
  Values angles;
  for (Index p = 0; p < length; ++p)
    for (Index i = 0; i < dh; ++i)
      angles.push_back(i < dh / 2 ? std::cos(0.1f * static_cast<float>(p * (i + 1)))
                                  : std::sin(0.1f * static_cast<float>(p * (i - dh / 2 + 1))));
  const Rope<typename B::Weight> rope{test::weight(be, angles, {length, dh}, WeightRole::vector)};
  const Rope<typename B::Weight>* positions = c.rope ? &rope : nullptr;
  const DType act = be.activation_dtype();
  KvCache<B> kv(be, 1, c.heads, length);
  const Mask mask = c.causal ? Mask::causal : Mask::none;
  const Index out = c.heads.num_query_heads * dh;
  if (c.past > 0) {
    auto qkv = test::tensor(be, test::uniform(c.past * width, 6), {c.past, width}, act);
    Tensor<B> none(be, {0, out}, act);
    ops::attend(be, none.view(), qkv.view(),
                {c.heads, positions, &kv.layer(0), kv.next_positions(c.past), mask});
    kv.commit(be, c.past);
  }
  const Index N = c.rows * c.batch, M = c.output_rows < 0 ? N : c.output_rows;
  auto qkv = test::tensor(be, test::uniform(N * width, 7), {N, width}, act);
  Tensor<B> o(be, {M, out}, act);
  Sequence seq;
  if (c.cached) seq = kv.next_positions(c.rows);
  seq.batch = c.batch;
  ops::attend(be, o.view(), qkv.view(),
              {c.heads, positions, c.cached ? &kv.layer(0) : nullptr, seq, mask});
  return detail::to_floats(be, o);
}

TEST_CASE("attend matches the reference on every backend", "[ops]") {
  const std::vector<AttentionCase> cases = {
      {{1, 1, 2}, 0, 1},                            // minimum size
      {{4, 4, 16}, 0, 5},                           // multi-head
      {{7, 1, 10}, 3, 4},                           // 7:1, an odd past
      {{6, 2, 18}, 31, 2},                          // across a panel of keys
      {{2, 2, 64}, 255, 3},                         // across a block of keys
      {{4, 2, 80}, 300, 1},                         // one row over two blocks, as in decode
      {{15, 1, 10}, 40, 1},                         // 15:1, a tile per thread
      {{16, 2, 20}, 260, 1},                        // 8:1, a head per thread
      {{2, 1, 128}, 257, 40},                       // several tiles of rows
      {{4, 2, 8}, 9, 6, 1, true, true, true, 1},    // only the last row is an output
      {{3, 3, 12}, 0, 33, 1, true, false},          // no rope
      {{2, 2, 72}, 0, 40, 2, false, false, false},  // SigLIP: heads of 72
      {{2, 2, 72}, 0, 3, 1, false, false, false},   // the same, as rows
      {{4, 2, 72}, 33, 2},                          // the same with a cache
      {{2, 2, 16}, 0, 37, 3, false, false, false},  // the ViT: a batch of three frames
      {{5, 5, 6}, 0, 1, 2, false, false, false}};   // a batch of single rows
  test::each_backend_and_isa([&](const auto& s) {
    for (const AttentionCase& c : cases) {
      INFO(s.name() << " heads " << c.heads.num_query_heads << ":" << c.heads.num_kv_heads
                    << " dim " << c.heads.head_dim << " past " << c.past << " rows " << c.rows);
      // 16-bit types also round rotated queries and keys, and the probabilities.
      const double tolerance = s.dtype == DType::f32 ? 5e-6 : 2 * s.tolerance;
      CHECK(test::distance(attend(s.backend(), c), attend(reference::Backend(), c)) < tolerance);
    }
  });
}

TEST_CASE("attend is bitwise identical for any number of threads", "[ops][threads]") {
  for (const AttentionCase& c : {AttentionCase{{16, 2, 20}, 260, 1},
                                 AttentionCase{{7, 1, 10}, 3, 2}, AttentionCase{{2, 2, 8}, 9, 40}})
    for (const DType dtype : {DType::f32, DType::bf16})
      for (const bool int8_kv : {false, true}) {
        const auto on = [&](Index threads) {
          return attend(cpu::Backend({.dtype = dtype, .threads = threads, .int8_kv = int8_kv}), c);
        };
        const Values one = on(1);
        for (const Index threads : {2, 3, 8}) CHECK(on(threads) == one);
      }
}

template <Backend B>
Values pool(B be, const Grid& in, const Grid& out, PoolKind kind) {
  constexpr Index D = 19;
  const auto x =
      test::tensor(be, test::uniform(in.count() * D, 8), {in.count(), D}, be.activation_dtype());
  Tensor<B> y(be, {out.count(), D}, DType::f32);
  ops::pool3d(be, y.view(), x.view(), in, out, kind);
  return detail::to_floats(be, y);
}

TEST_CASE("pool3d pools any grid to any other", "[ops]") {
  test::each_backend_and_isa([&](const auto& s) {
    for (const PoolKind kind : {PoolKind::average, PoolKind::maximum, PoolKind::bilinear})
      for (const Grid& out : {Grid{4, 2, 2}, Grid{1, 1, 1}, Grid{3, 5, 2}, Grid{4, 6, 6},
                              Grid{7, 7, 9}}) {  // the last is finer than the input
        INFO(s.name() << " to " << out.str());
        CHECK(test::distance(pool(s.backend(), {4, 6, 6}, out, kind),
                             pool(reference::Backend(), {4, 6, 6}, out, kind)) < 2e-6);
      }
  });
}

template <Backend B>
Values vision_embeddings(B be, Index S, bool class_token) {
  constexpr Index T = 2, patch = 4, P = 9, D = 48;
  const Index rows = P + (class_token ? 1 : 0);
  auto pixels = test::tensor(be, test::uniform(T * 3 * S * S, 9), {T, 3, S, S}, DType::f32);
  Tensor<B> patches(be, {T * P, D}, be.activation_dtype());
  ops::patchify(be, patches.view(), pixels.view(), patch);
  typename B::Weight cls{};
  if (class_token) cls = test::weight(be, test::uniform(D, 51), {D}, WeightRole::vector);
  const auto positions =
      test::weight(be, test::uniform(rows * D, 52), {rows, D}, WeightRole::vector);
  Tensor<B> x(be, {T * rows, D}, DType::f32);
  ops::add_positions(be, x.view(), patches.view(), cls, positions, P);
  Tensor<B> y(be, {T * P, D}, DType::f32);
  ops::select_patches(be, y.view(), x.view(), P);
  Values all = detail::to_floats(be, x);
  const Values selected = detail::to_floats(be, y);
  all.insert(all.end(), selected.begin(), selected.end());
  return all;
}

TEST_CASE("patchify, add_positions and select_patches match the reference exactly", "[ops]") {
  test::each_backend_and_isa([&](const auto& s) {
    for (const bool class_token : {true, false})
      for (const Index S : {12, 15}) {  // 15: three pixels are left out
        INFO(s.name() << " side " << S << " class token " << class_token);
        CHECK(vision_embeddings(s.backend(), S, class_token) ==
              vision_embeddings(reference::Backend(), S, class_token));
      }
  });
}

TEST_CASE("embed reads table rows by ids in backend memory", "[ops]") {
  test::each_backend_and_isa([&](const auto& s) {
    auto be = s.backend();
    const Values values = test::uniform(7 * 10, 61);
    const auto table = test::weight(be, values, {7, 10}, WeightRole::table);
    Tensor<decltype(be)> x(be, {3, 10}, DType::f32);
    ops::embed(be, x.view(), test::ids(be, {6, 0, 6}).view(), table);
    const Values got = detail::to_floats(be, x);
    for (std::size_t d = 0; d < 10; ++d) {
      CHECK(got[d] == values[60 + d]);
      CHECK(got[10 + d] == values[d]);
      CHECK(got[20 + d] == values[60 + d]);
    }
  });
}

TEST_CASE("preprocess matches the host on every backend", "[ops]") {
  std::vector<std::uint8_t> bytes(50 * 40 * 3);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(i * i / 7);
  Clip clip;
  clip.frames.assign(3, Frame::borrow(bytes.data(), 50, 40));
  clip.frames[1] = Frame::borrow(bytes.data() + 3, 49, 39, PixelFormat::bgr, 150);
  PreprocessConfig config;
  config.image_size = 28;
  config.fit = GENERATE(FrameFit::crop, FrameFit::stretch);
  const Values expected = pllava::preprocess(clip, config);
  const auto on = [&](auto be) {
    Tensor<decltype(be)> pixels(be, {3, 3, 28, 28}, DType::f32);
    ops::preprocess(be, pixels.view(), clip.frames, config);
    CHECK_THROWS_AS(ops::preprocess(be, pixels.view(), std::span(clip.frames).first(2), config),
                    ShapeError);
    return detail::to_floats(be, pixels);
  };
  test::each_backend_and_isa([&](const auto& s) { CHECK(on(s.backend()) == expected); });
  CHECK(on(cpu::Backend({.threads = 3})) == expected);
  CHECK(on(reference::Backend()) == expected);
}

TEST_CASE("sample returns the id and stores it in backend memory", "[ops]") {
  const auto on = [](auto be) {
    const Values scores = {0.5f, 3.0f, 1.0f, 3.0f};
    auto logits = test::tensor(be, scores, {1, 4}, DType::f32);
    auto id = test::ids(be, {-1});
    Sampler greedy;
    CHECK(ops::sample(be, id.view(), logits.view(), greedy) == 1);
    std::int32_t stored = 0;
    be.download(&stored, id);
    CHECK(stored == 1);
    auto wrong = test::ids(be, {1, 2});
    CHECK_THROWS_AS(ops::sample(be, wrong.view(), logits.view(), greedy), ShapeError);
  };
  test::each_backend_and_isa([&](const auto& s) { on(s.backend()); });
  on(reference::Backend());
}

TEST_CASE("A shape error names the verb and both shapes", "[ops]") {
  cpu::Backend be({.threads = 1});
  const auto w = make_linear(be, 6, 5, false);
  Tensor<cpu::Backend> x(be, {2, 4}, DType::f32), y(be, {2, 6}, DType::f32);
  try {
    ops::linear(be, y.view(), x.view(), w);
    FAIL("4 columns were accepted instead of 5");
  } catch (const ShapeError& e) {
    CHECK(e.op() == "linear x");
    CHECK(std::string(e.what()).find("expected (2, 5), got (2, 4)") != std::string::npos);
  }
  CHECK_THROWS_AS(ops::residual(be, x.view(), {}, y.view(), w, nullptr), ShapeError);
  Tensor<cpu::Backend> branch(be, {2, 5}, DType::f32);
  const Norm<cpu::Weight> next;
  CHECK_THROWS_AS(ops::residual(be, y.view(), x.view(), branch.view(), w, &next), ShapeError);
  CHECK_THROWS_AS(
      ops::pool3d(be, y.view(), x.view(), Grid{3, 1, 1}, Grid{2, 1, 1}, PoolKind::average),
      ShapeError);
  const Heads heads{1, 1, 2};
  CHECK_THROWS_AS(ops::attend(be, y.view(), x.view(), {.heads = heads}), ShapeError);
}

TEST_CASE("Verbs on zero rows do nothing", "[ops]") {
  cpu::Backend be({.threads = 1});
  const auto w = make_linear(be, 6, 5, true);
  Tensor<cpu::Backend> x(be, {0, 5}, DType::f32), y(be, {0, 6}, DType::f32);
  CHECK_NOTHROW(ops::linear(be, y.view(), x.view(), w));
  CHECK_NOTHROW(ops::residual<cpu::Backend>(be, y.view(), {}, x.view(), w, nullptr));
}

TEST_CASE("Weights of every stored type prepare to equal values", "[ops]") {
  const Values values = test::uniform(33 * 9, 3);  // exact in all three types
  test::each_backend({DType::f32, DType::bf16, DType::f16}, [&](const auto& s) {
    INFO(s.name());
    std::vector<Values> outputs;
    for (const DType stored : {DType::f32, DType::bf16, DType::f16}) {
      auto be = s.backend();
      std::vector<std::byte> raw(values.size() * 4);
      for (std::size_t i = 0; i < values.size(); ++i)
        store_float(raw.data(), stored, static_cast<Index>(i), values[i]);
      const HostTensor host{stored, {33, 9}, raw.data(), nullptr};
      const Linear<typename std::decay_t<decltype(be)>::Weight> w{
          be.prepare({&host, 1}, WeightRole::linear), {}, 33, 9};
      auto x = test::tensor(be, test::uniform(2 * 9, 4), {2, 9}, s.dtype);
      Tensor<decltype(be)> y(be, {2, 33}, DType::f32);
      ops::linear(be, y.view(), x.view(), w);
      outputs.push_back(detail::to_floats(be, y));
    }
    CHECK(outputs[1] == outputs[0]);
    CHECK(outputs[2] == outputs[0]);
  });
}

}  // namespace
