// The CUDA backend beyond the results of single verbs: pipelines, weights, graphs, errors, memory.
#include "pllava/reference/backend.hpp"

#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>
#ifdef PLLAVA_TEST_GPU
#include <chrono>
#include <thread>

#include <cuda_runtime.h>
#endif

#include "pllava/cuda.hpp"
#include "pllava/pllava.hpp"
#include "support/catch.hpp"
#ifndef PLLAVA_TEST_GPU
#include "support/host_device.hpp"
#endif
#include "support/quantized_model.hpp"
#include "support/subjects.hpp"
#include "support/tensors.hpp"

namespace {

using namespace pllava;
using Catch::Matchers::Contains;
using B = cuda::Backend;

std::vector<std::uint8_t> stripes() {
  std::vector<std::uint8_t> bytes(64 * 48 * 3);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(i * i / 5);
  return bytes;
}

/// Sixteen frames that differ.
Clip clip(const std::vector<std::uint8_t>& bytes) {
  Clip c;
  for (int t = 0; t < 16; ++t)
    c.frames.push_back(Frame::borrow(bytes.data() + 3 * t, 32, 40, PixelFormat::rgb, 64 * 3));
  return c;
}

ModelConfig tiny() {
  return ModelConfig::preset("tiny");
}

TEST_CASE("A pipeline on CUDA gives the same answers as on the CPU, repeatedly", "[cuda]") {
  const auto bytes = stripes();
  const auto ask = [&](const Pipeline& model) {
    Session session = model.watch(clip(bytes));
    const auto video = session.mark();
    std::vector<std::string> answers = {session.ask("What?", {.max_new_tokens = 12}).text};
    session.rewind(video);
    answers.push_back(session.ask("Where?", {.max_new_tokens = 12}).text);
    answers.push_back(session.ask("And then?", {.max_new_tokens = 12}).text);
    return answers;
  };
  const auto expected = ask(Pipeline::random(tiny(), 3, {.dtype = DType::f32, .threads = 2}));
  const Pipeline model = Pipeline::random(tiny(), B({.dtype = DType::f32}), 3);
  CHECK(ask(model) == expected);
  CHECK(ask(model) == expected);
}

TEST_CASE("A clip in device memory gives the same answer as in host memory", "[cuda]") {
  const auto bytes = stripes();
  B be({.dtype = DType::f32});
  const auto size = static_cast<Index>(bytes.size());
  const auto memory = be.allocate(size);
  be.upload({memory.get(), DType::u8, {size}}, bytes.data());
  be.synchronize();
  const Clip host = clip(bytes);
  Clip device;
  for (int t = 0; t < 16; ++t)
    device.frames.push_back(cuda::borrow(
        {.data = static_cast<const std::uint8_t*>(memory.get()) + 3 * t, .stride = 64 * 3}, 32,
        40));
  const Pipeline model = Pipeline::random(tiny(), std::move(be), 3);
  const auto ask = [&](const Clip& c) {
    return model.watch(c).ask("What?", {.max_new_tokens = 6}).text;
  };
  CHECK(ask(device) == ask(host));
}

TEST_CASE("Weights are uploaded in chunks and converted to the backend's type", "[cuda]") {
#ifdef PLLAVA_TEST_GPU
  constexpr Index kRows = 9000;  // more than both staging buffers of 8 MiB
#else
  constexpr Index kRows = 19;  // chunks of 256 bytes, none of which ends with a row
#endif
  constexpr Index kColumns = 1001;
  for (const DType from : {DType::f32, DType::bf16, DType::f16})
    for (const DType to : {DType::f32, DType::bf16, DType::f16}) {
      std::vector<std::byte> bytes(static_cast<std::size_t>(kRows * kColumns * size_of(from)));
      for (Index i = 0; i < kRows * kColumns; ++i)
        store_float(bytes.data(), from, i, static_cast<float>(i % 8191) / 64);
      const auto part = [&](Index begin, Index rows) {
        return HostTensor{
            from, {rows, kColumns}, bytes.data() + begin * kColumns * size_of(from), nullptr};
      };
      const HostTensor parts[] = {part(0, 7), part(7, kRows - 7)};
      B be({.dtype = to});
      const auto weight = be.prepare(parts, WeightRole::linear);
      const auto got = detail::to_floats(be, {weight.data.get(), to, {kRows, kColumns}});
      Index wrong = 0;
      for (Index i = 0; i < kRows * kColumns; ++i) {
        std::byte expected[4];
        store_float(expected, to, 0, load_float(bytes.data(), from, i));
        wrong += got[static_cast<std::size_t>(i)] != load_float(expected, to, 0);
      }
      CHECK(wrong == 0);
    }
}

TEST_CASE("Sampling with temperature and penalties matches the CPU", "[cuda]") {
  const auto logits = test::uniform(500, 17);
  const auto choose = [&](auto be, const SamplingOptions& options) {
    Sampler sampler(options, {7});
    std::vector<std::int32_t> chosen;
    for (int i = 0; i < 5; ++i) {
      auto scores = test::tensor(be, logits, {1, 500}, DType::f32);
      auto id = test::ids(be, {-1});
      chosen.push_back(ops::sample(be, id.view(), scores.view(), sampler));
    }
    return chosen;
  };
  for (const SamplingOptions& options :
       {SamplingOptions{}, SamplingOptions{.repetition_penalty = 1.5f},
        SamplingOptions{.min_new_tokens = 3}, SamplingOptions{.temperature = 0.8f, .seed = 5},
        SamplingOptions{.temperature = 0.8f, .top_k = 20, .top_p = 0.9f},
        SamplingOptions{.temperature = 1.2f, .top_p = 0.7f, .repetition_penalty = 1.3f}})
    CHECK(choose(B({.dtype = DType::f32}), options) ==
          choose(cpu::Backend({.threads = 1}), options));
}

TEST_CASE("Invalid logits are refused and the backend stays usable", "[cuda]") {
  B be;
  auto id = test::ids(be, {-1});
  for (const SamplingOptions& options :
       {SamplingOptions{}, SamplingOptions{.temperature = 1, .repetition_penalty = 2}}) {
    Sampler sampler(options);
    sampler.observe(std::vector<std::int32_t>{1});
    const auto sample = [&](const std::vector<float>& scores) {
      auto logits = test::tensor(be, scores, {1, 3}, DType::f32);
      return ops::sample(be, id.view(), logits.view(), sampler);
    };
    const float infinity = std::numeric_limits<float>::infinity();
    CHECK_THROWS_WITH(sample({1, std::nanf(""), 2}), Contains("logit 1 of 3 is not a number"));
    CHECK_THROWS_WITH(sample({1, 2, infinity}), Contains("logit 2 of 3 is infinite"));
    CHECK_THROWS_WITH(sample({-infinity, -infinity, -infinity}), Contains("no token to choose"));
    CHECK(sample({-infinity, 3, -infinity}) == 1);
  }
}

TEST_CASE("residual_norm matches residual followed by norm", "[cuda]") {
  // One value, a row that is no multiple of a warp, and one near the limit of shared memory.
  for (const Index out : {Index{1}, Index{517}, Index{24'577}}) {
    B be({.dtype = DType::f32});
    const auto vector = [&](std::uint64_t seed) {
      return test::weight(be, test::uniform(out, seed), {out}, WeightRole::vector);
    };
    const Linear<typename B::Weight> w{
        test::weight(be, test::uniform(out * 3, 1), {out, 3}, WeightRole::linear), vector(2), out,
        3};
    const Norm<typename B::Weight> next{NormKind::layer, vector(3), vector(4), 1e-5f};
    auto y = test::tensor(be, test::uniform(3, 5), {1, 3}, DType::f32);
    const auto values = test::uniform(out, 6);
    auto x = test::tensor(be, values, {1, out}, DType::f32);
    auto separate = test::tensor(be, values, {1, out}, DType::f32);
    Tensor<B> h(be, {1, out}, DType::f32), expected(be, {1, out}, DType::f32);
    ops::residual(be, x.view(), h.view(), y.view(), w, &next);
    ops::residual<B>(be, separate.view(), {}, y.view(), w, nullptr);
    ops::norm(be, expected.view(), separate.view(), next);
    CHECK(detail::to_floats(be, x) == detail::to_floats(be, separate));
    CHECK(test::distance(detail::to_floats(be, h), detail::to_floats(be, expected)) < 1e-6);
  }
}

TEST_CASE("Unsupported types and devices are refused", "[cuda]") {
  CHECK_THROWS_AS(B({.dtype = DType::i32}), ArgumentError);
  try {
    B be({.device = 99});
    FAIL("device 99 was accepted");
  } catch (const cuda::Error& e) {
    CHECK(e.call() == "cudaSetDevice");
    CHECK(std::string(e.what()).find("no device 99") != std::string::npos);
  }
}

const std::vector<Quantization> kFormats = {{WeightFormat::int8, 32, false},
                                            {WeightFormat::int4, 32, false},
                                            {WeightFormat::int4, 128, true},
                                            {WeightFormat::fp8}};

/// A matrix to be quantized, or with `stored` a quantized one.
class Matrix {
 public:
  Matrix(Index rows, Index cols, const Quantization& q, std::uint64_t seed, bool stored)
      : values_(test::uniform(rows * cols, seed)),
        tensor_{DType::f32,
                {rows, cols},
                reinterpret_cast<const std::byte*>(values_.data()),
                nullptr,
                q} {
    if (!stored) return;
    const Index bytes = stored_row_bytes(q, cols);
    rows_.resize(static_cast<std::size_t>(rows * bytes));
    for (Index r = 0; r < rows; ++r)
      store_row(&rows_[static_cast<std::size_t>(r * bytes)], quantized_row(tensor_, r), q);
    tensor_.dtype = DType::u8;
    tensor_.data = rows_.data();
  }
  const HostTensor& tensor() const { return tensor_; }

 private:
  std::vector<float> values_;
  std::vector<std::byte> rows_;
  HostTensor tensor_;
};

/// The results of linear, residual with a norm, and glu for `rows` rows and two matrices (out, in).
template <Backend Any>
std::vector<float> linear_results(Any be, const Quantization& q, bool stored, Index rows, Index out,
                                  Index in) {
  const Matrix first(out, in, q, 1, stored), second(out, in, q, 2, stored);
  const std::vector<HostTensor> parts = {first.tensor(), second.tensor()};
  const Index both = 2 * out;
  const Linear<typename Any::Weight> stacked{
      be.prepare(parts, WeightRole::linear),
      test::weight(be, test::uniform(both, 3), {both}, WeightRole::vector), both, in};
  const Linear<typename Any::Weight> gate_up{be.prepare(parts, WeightRole::gate_up), {}, out, in};
  const DType type = be.activation_dtype();
  auto x = test::tensor(be, test::uniform(rows * in, 4), {rows, in}, type);
  auto sum = test::tensor(be, test::uniform(rows * both, 5), {rows, both}, DType::f32);
  Tensor<Any> y(be, {rows, both}, type), g(be, {rows, out}, type), h(be, {rows, both}, type);
  ops::linear(be, y.view(), x.view(), stacked, Activation::gelu);
  const Norm<typename Any::Weight> next{
      NormKind::rms,
      test::weight(be, test::uniform(both, 6), {both}, WeightRole::vector),
      {},
      1e-5f};
  ops::residual(be, sum.view(), h.view(), x.view(), stacked, &next);
  ops::glu(be, g.view(), x.view(), gate_up, Activation::silu);
  std::vector<float> all;
  for (Tensor<Any>* t : {&y, &sum, &h, &g})
    for (const float v : detail::to_floats(be, *t)) all.push_back(v);
  return all;
}

TEST_CASE("Quantized linear layers on CUDA match the reference with GEMV and GEMM", "[cuda]") {
  for (const Quantization& q : kFormats)
    for (const Index rows : {1, 8, 9}) {  // sizes that the fp8 GEMM does not support
      const auto expected = linear_results(reference::Backend(), q, false, rows, 21, 150);
      for (const DType dtype : {DType::f32, DType::bf16, DType::f16}) {
        const test::Subject<B> s{dtype, "cuda", [dtype] { return B({.dtype = dtype}); }};
        INFO(s.name() << ' ' << name_of(q.format) << " rows " << rows);
        const auto got = linear_results(s.backend(), q, false, rows, 21, 150);
        CHECK(test::distance(got, expected) < 2 * s.tolerance);
        CHECK(linear_results(s.backend(), q, true, rows, 21, 150) == got);
      }
    }
}

TEST_CASE("Activations whose rotation exceeds shared memory match the reference", "[cuda]") {
  const Quantization q{WeightFormat::int4};
  for (const Index rows : {1, 9}) {
    const auto expected = linear_results(reference::Backend(), q, false, rows, 3, 28'672);
    for (const DType dtype : {DType::bf16, DType::f16}) {
      const test::Subject<B> s{dtype, "cuda", [dtype] { return B({.dtype = dtype}); }};
      INFO(s.name() << " rows " << rows);
      CHECK(test::distance(linear_results(s.backend(), q, false, rows, 3, 28'672), expected) <
            2 * s.tolerance);
    }
  }
}

/// The rows, quantized to e4m3 with a scale for each row and dequantized.
std::vector<float> fp8_rows(std::vector<float> x, Index width) {
  const Quantization q{WeightFormat::fp8};
  for (auto row = x.begin(); row != x.end(); row += width) {
    const QuantizedRow quantized = quantize({&*row, static_cast<std::size_t>(width)}, q);
    for (std::size_t k = 0; k < quantized.values.size(); ++k)
      row[static_cast<Index>(k)] = quantized.dequantized(q, k);
  }
  return x;
}

TEST_CASE("GEMM with fp8 weights quantizes activations to fp8 if the GPU supports it", "[cuda]") {
  constexpr Index kRows = 9, kOut = 48, kIn = 160;
  const Quantization q{WeightFormat::fp8};
  const auto in_bf16 = [](std::vector<float> v) {
    for (float& x : v) x = to_float(from_float<bf16>(x));
    return v;
  };
  const auto x = in_bf16(test::uniform(kRows * kIn, 1)), bias = in_bf16(test::uniform(kOut, 2));
  const Matrix matrix(kOut, kIn, q, 3, false);
  const auto multiply = [&](auto be, const std::vector<float>& rows, DType y_type) {
    using Any = decltype(be);
    const Linear<typename Any::Weight> w{be.prepare({&matrix.tensor(), 1}, WeightRole::linear),
                                         test::weight(be, bias, {kOut}, WeightRole::vector), kOut,
                                         kIn};
    auto in = test::tensor(be, rows, {kRows, kIn}, be.activation_dtype());
    auto sum = test::tensor(be, test::uniform(kRows * kOut, 4), {kRows, kOut}, DType::f32);
    Tensor<Any> y(be, {kRows, kOut}, y_type);
    ops::linear(be, y.view(), in.view(), w, Activation::gelu);
    const Norm<typename Any::Weight>* const no_norm = nullptr;
    ops::residual(be, sum.view(), View{}, in.view(), w, no_norm);
    auto all = detail::to_floats(be, y);
    for (const float v : detail::to_floats(be, sum)) all.push_back(v);
    return all;
  };
  const auto exact = multiply(reference::Backend(), x, DType::f32);
  const auto quantized = multiply(reference::Backend(), fp8_rows(x, kIn), DType::f32);
  CHECK(test::distance(quantized, exact) > 5e-3);
  const auto on_cuda = [&](DType dtype) {
    return multiply(B({.dtype = dtype}), x, dtype == DType::f32 ? dtype : DType::bf16);
  };
#ifdef PLLAVA_TEST_GPU
  const bool uses_fp8 = test::distance(on_cuda(DType::bf16), quantized) < 4e-3;
  WARN((uses_fp8 ? "fp8 GEMM" : "GEMM with dequantized weights"));
  CHECK((uses_fp8 || test::distance(on_cuda(DType::bf16), exact) < 4e-3));
#else
  CHECK(test::distance(on_cuda(DType::bf16), quantized) < 4e-3);
  cuda::HostDevice::instance().supports_fp8_gemm = false;
  CHECK(test::distance(on_cuda(DType::bf16), exact) < 4e-3);
  cuda::HostDevice::instance().supports_fp8_gemm = true;
#endif
  CHECK(test::distance(on_cuda(DType::f32), exact) < 1e-5);
}

TEST_CASE("A quantized matrix larger than a panel is dequantized panel by panel", "[cuda]") {
  constexpr Index kOut = 257, kIn = 65'536;  // 256 rows at a time in f32
  const Quantization q{WeightFormat::int8};
  const auto multiply = [&](auto be) {
    const Matrix matrix(kOut, kIn, q, 1, false);
    const Linear<typename std::decay_t<decltype(be)>::Weight> w{
        be.prepare({&matrix.tensor(), 1}, WeightRole::linear),
        test::weight(be, test::uniform(kOut, 2), {kOut}, WeightRole::vector), kOut, kIn};
    auto x = test::tensor(be, test::uniform(2 * kIn, 3), {2, kIn}, DType::f32);
    Tensor<decltype(be)> y(be, {2, kOut}, DType::f32);
    ops::linear(be, y.view(), x.view(), w);
    return detail::to_floats(be, y);
  };
  CHECK(test::distance(multiply(B({.dtype = DType::f32})), multiply(reference::Backend())) < 1e-5);
}

TEST_CASE("A quantized model on CUDA matches the reference with the same weights", "[cuda]") {
  for (const WeightFormat format : {WeightFormat::int8, WeightFormat::int4, WeightFormat::fp8}) {
    INFO(name_of(format));
    QuantizeOptions options = QuantizeOptions::of(format);
    const auto expected = test::logits(reference::Backend(), options);
    CHECK(test::distance(test::logits(B({.dtype = DType::f32}), options), expected) < 1e-5);
    const double tolerance = format == WeightFormat::fp8 ? 0.15 : 2e-2;  // fp8: quantized rows too
    CHECK(test::distance(test::logits(B({.dtype = DType::bf16}), options), expected) < tolerance);
  }
}

/// Logits after a prompt of 40 tokens, in chunks of `chunk` tokens, and one decode step.
template <Backend Any>
std::vector<float> chunked_logits(Any be, Index chunk) {
  TextConfig config = tiny().text;
  config.heads = 4, config.kv_heads = 2;
  const LanguageModel<Any> model(be, config, RandomWeights::scope(1)["language_model"]);
  KvCache<Any> kv = model.make_cache(be, 64);
  Tensor<Any> logits(be, {1, config.vocab}, DType::f32);
  std::vector<std::int32_t> ids(40);
  for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<std::int32_t>(i * 7 % 50);
  auto x = model.embed(be, ids);
  for (Index n = 0; n < 40; n += chunk)
    model.forward(be, x.view().slice(n, std::min(chunk, 40 - n)), kv, logits);
  model.step(be, test::ids(be, {9}), kv, logits);
  return detail::to_floats(be, logits);
}

TEST_CASE("Deterministic results do not depend on the split of a prompt", "[cuda]") {
  for (const DType dtype : {DType::f32, DType::bf16})
    for (const bool int8_kv : {false, true}) {
      const auto logits = [&](Index chunk, bool deterministic) {
        return chunked_logits(
            B({.dtype = dtype, .int8_kv = int8_kv, .deterministic = deterministic}), chunk);
      };
      const auto whole = logits(40, true);
      for (const Index chunk : {1, 7, 32}) CHECK(logits(chunk, true) == whole);
      CHECK(logits(1, false) != whole);  // other rounding, so the checks above are not trivial
      CHECK(test::distance(logits(1, false), whole) < (dtype == DType::f32 ? 1e-2 : 5e-2));
    }
}

TEST_CASE("The int8 KV cache on CUDA matches the CPU", "[cuda]") {
  for (const Index chunk : {1, 40}) {
    const auto expected =
        chunked_logits(cpu::Backend({.dtype = DType::f32, .threads = 1, .int8_kv = true}), chunk);
    const auto got = chunked_logits(B({.dtype = DType::f32, .int8_kv = true}), chunk);
    const double quantization_error = test::distance(
        expected, chunked_logits(cpu::Backend({.dtype = DType::f32, .threads = 1}), chunk));
    CHECK(quantization_error > 1e-4);
    CHECK(test::distance(got, expected) < quantization_error / 4);  // ties may round differently
  }
}

TEST_CASE("An exact window on CUDA equals the clip to the bit in every format", "[cuda]") {
  const auto bytes = stripes();
  ModelConfig config = tiny();
  config.text.layers = 1;
  const auto logits_of = [](Session session) {
    return session.ask("What?", {.max_new_tokens = 2, .first_logits = true}).first_logits;
  };
  for (const DType dtype : {DType::f32, DType::bf16})
    for (const WeightFormat format :
         {WeightFormat::unquantized, WeightFormat::int8, WeightFormat::int4}) {
      CAPTURE(name_of(format));
      const Pipeline model =
          Pipeline::random(config, B({.dtype = dtype, .deterministic = true}),
                           quantized(RandomWeights::scope(3), QuantizeOptions::of(format)));
      SlidingWindow window = model.window();
      Clip last;
      Session slid = model.watch(clip(bytes));
      for (int t = 0; t < 18; ++t) {
        const Frame frame = Frame::borrow(bytes.data() + 3 * t, 32, 40, PixelFormat::rgb, 64 * 3);
        window.push(frame);
        if (t >= 2) last.frames.push_back(frame);
      }
      slid.slide_to(window.video());
      CHECK(logits_of(std::move(slid)) == logits_of(model.watch(last)));
      CHECK(logits_of(model.watch(last, {.keep_tokens = 0.5})) ==
            logits_of(model.watch(window.video(), {.keep_tokens = 0.5})));
    }
}

TEST_CASE("A window slides and rolls on CUDA", "[cuda]") {
  const auto bytes = stripes();
  const auto logits_of = [](Session& session) {
    return session.ask("What?", {.max_new_tokens = 2, .first_logits = true}).first_logits;
  };
  // In a model of one layer, rolling changes nothing but positions, which RoPE sees relative to
  // each other: see tests/runtime/sliding_window_test.cpp.
  ModelConfig config = tiny();
  config.text.layers = 1;
  for (const bool int8_kv : {false, true}) {
    const cpu::Backend host({.dtype = DType::f32, .threads = 2, .int8_kv = int8_kv});
    const Pipeline model =
        Pipeline::random(config, B({.dtype = DType::f32, .int8_kv = int8_kv}), 3);
    const Pipeline on_cpu = Pipeline::random(config, host.fork(), 3);
    SlidingWindow window = model.window(), cpu_window = on_cpu.window();
    const auto push = [&](int t) {
      const Frame frame = Frame::borrow(bytes.data() + 3 * t, 32, 40, PixelFormat::rgb, 64 * 3);
      window.push(frame), cpu_window.push(frame);
    };
    for (int t = 0; t < 16; ++t) push(t);
    Session exact = model.watch(window.video()), rolled = model.watch(window.video());
    for (int t = 16; t < 20; ++t) {
      push(t);
      CHECK(exact.slide_to(window.video()).exact);
      const SlideReport report = rolled.slide_to(window.video(), {.rolling = true});
      CHECK(report.exact == (t == 16));  // from then on the session keeps what rolling needs
      if (t > 16) CHECK(report.prefilled_tokens == window.video().tokens_per_frame());
      Session anew = model.watch(window.video()), expected = on_cpu.watch(cpu_window.video());
      const auto logits = logits_of(exact);
      CHECK(logits == logits_of(anew));
      CHECK(test::distance(logits, logits_of(expected)) < (int8_kv ? 1e-2 : 1e-4));
      CHECK(test::distance(logits_of(rolled), logits) < (int8_kv ? 1e-2 : 1e-4));
    }
  }
}

#ifndef PLLAVA_TEST_GPU

TEST_CASE("Exhausted device memory throws and leaks nothing", "[cuda]") {
  auto& host = cuda::HostDevice::instance();
  const auto before = host.live;
  {
    const Pipeline model = Pipeline::random(tiny(), B({.dtype = DType::f32}), 3);
    const auto bytes = stripes();
    Session session = model.watch(clip(bytes));
    const auto answer = session.ask("What?", {.max_new_tokens = 4}).text;
    host.max_bytes = 1 << 12;
    CHECK_THROWS_AS(model.watch(clip(bytes)), OutOfMemoryError);
    host.max_bytes = std::numeric_limits<Index>::max();
    CHECK(model.watch(clip(bytes)).ask("What?", {.max_new_tokens = 4}).text == answer);
  }
  CHECK(host.live == before);
}

TEST_CASE("A decode step downloads one token and allocates nothing", "[cuda]") {
  auto& host = cuda::HostDevice::instance();
  B be({.dtype = DType::f32});
  const ModelConfig config = tiny();
  const LanguageModel<B> model(be, config.text, RandomWeights::scope(1)["language_model"]);
  KvCache<B> kv = model.make_cache(be, 64);
  Tensor<B> logits(be, {1, config.text.vocab}, DType::f32);
  auto id = test::ids(be, {5});
  Sampler sampler({.temperature = 1, .top_p = 0.9f, .repetition_penalty = 1.1f});
  model.step(be, id, kv, logits);  // allocates scratch
  const auto allocations = host.allocations, downloads = host.downloads;
  for (int i = 0; i < 3; ++i) {
    model.step(be, id, kv, logits);
    ops::sample(be, id.view(), logits.view(), sampler);
  }
  CHECK(host.allocations == allocations);
  CHECK(host.downloads == downloads + 3);
}

TEST_CASE("Work runs on the backend's device and restores the current one", "[cuda]") {
  auto& host = cuda::HostDevice::instance();
  constexpr int kOther = 3;
  const int before = std::exchange(host.current, kOther);
  B be({.dtype = DType::f32});
  const Linear<typename B::Weight> w{
      test::weight(be, test::uniform(9 * 3, 1), {9, 3}, WeightRole::linear), {}, 9, 3};
  auto x = test::tensor(be, test::uniform(20 * 3, 2), {20, 3}, DType::f32);
  Tensor<B> y(be, {20, 9}, DType::f32);
  ops::linear(be, y.view(), x.view(), w);
  CHECK(host.last_gemm_device == be.options().device);
  CHECK(host.current == kOther);
  host.current = before;
}

TEST_CASE("A step is recorded once and then replayed", "[cuda]") {
  auto& host = cuda::HostDevice::instance();
  const auto values = test::uniform(64, 5);
  B be({.dtype = DType::f32});
  auto x = test::tensor(be, values, {1, 64}, DType::f32);
  auto y = test::tensor(be, values, {1, 64}, DType::f32);
  const auto runs = [&](Index expected_calls) {
    const auto records = host.records, replays = host.replays, work = host.recorded_work;
    Index calls = 0;
    be.step({}, [&] {
      ++calls;
      be.copy(y, x);
      be.copy(x, y);
    });
    CHECK(calls == expected_calls);
    return std::vector<Index>{host.records - records, host.replays - replays,
                              host.recorded_work - work};
  };
  CHECK(runs(2) == std::vector<Index>{1, 1, 2});  // dry run, recording
  CHECK(runs(1) == std::vector<Index>{0, 1, 0});
  CHECK(runs(1) == std::vector<Index>{0, 1, 0});
  CHECK(be.recorded_steps() == 1);
  CHECK(be.replayed_steps() == 2);
  CHECK(detail::to_floats(be, x) == values);
}

TEST_CASE("A step that throws leaves the backend usable", "[cuda]") {
  const auto values = test::uniform(64, 5);
  B be({.dtype = DType::f32});
  auto x = test::tensor(be, values, {1, 64}, DType::f32);
  auto y = test::tensor(be, std::vector<float>(64), {1, 64}, DType::f32);
  const auto step = [&](int fails_in) {
    int run = 0;
    be.step({}, [&] {
      be.copy(y, x);
      if (run++ == fails_in) throw std::runtime_error("thrown by the body");
    });
  };
  for (const int fails_in : {0, 1}) {  // dry run, recording
    CHECK_THROWS_AS(step(fails_in), std::runtime_error);
    CHECK(detail::to_floats(be, y) == std::vector<float>(64));  // unchanged
    CHECK(be.recorded_steps() == 0);
  }
  be.copy(y, x);  // outside of a step, verbs run immediately
  CHECK(detail::to_floats(be, y) == values);
  be.copy(y, test::tensor(be, std::vector<float>(64), {1, 64}, DType::f32));
  step(-1);
  CHECK(detail::to_floats(be, y) == values);
  CHECK(be.recorded_steps() == 1);
}

TEST_CASE("Out-of-memory errors name the purpose, the request and the free memory", "[cuda]") {
  auto& host = cuda::HostDevice::instance();
  const auto live = host.live;
  {
    B be({.dtype = DType::f32});
    const auto message_of = [&](const auto& call) {
      host.max_bytes = 1000;
      std::string message = "no error";
      try {
        call();
      } catch (const OutOfMemoryError& e) {
        message = e.what();
      }
      host.max_bytes = std::numeric_limits<Index>::max();
      return message;
    };
    const auto message = [](const std::string& what, const std::string& bytes) {
      return "out of memory: " + what + " on the GPU, where 1000 of 1000 bytes are free, needs " +
             bytes + " bytes";
    };
    const std::vector<float> values(400);
    CHECK(message_of([&] { be.allocate(1001); }) == message("a tensor", "1001"));
    CHECK(message_of([&] { be.scratch({4}, DType::f32); }) == message("scratch", "33554432"));
    CHECK(message_of([&] {
            test::weight(be, values, {20, 20}, WeightRole::linear);
          }) == message("a weight", "1600"));
    CHECK(message_of([&] {
            be.make_kv({1, 1, 8}, 100);
          }) == message("the keys of a layer", "3200"));
    // With memory available again everything works, also in a step.
    auto x = test::tensor(be, values, {20, 20}, DType::f32);
    Tensor<B> y(be, {20, 20}, DType::f32);
    const Linear<typename B::Weight> w{
        test::weight(be, values, {20, 20}, WeightRole::linear), {}, 20, 20};
    const auto step = [&] { be.step({}, [&] { be.linear(y, x, w, Activation::none); }); };
    step();
    CHECK(be.recorded_steps() == 1);
    CHECK(detail::to_floats(be, y) == values);
  }
  CHECK(host.live == live);
}

TEST_CASE("A step that cannot allocate scratch has no effect", "[cuda]") {
  auto& host = cuda::HostDevice::instance();
  const auto live = host.live;
  {
    B be({.dtype = DType::bf16});
    const std::vector<float> values(16 * 16, 0.5f);
    auto x = test::tensor(be, values, {16, 16}, DType::f32);  // f32: converted in scratch
    auto y = test::tensor(be, std::vector<float>(16 * 16), {16, 16}, DType::f32);
    const Linear<typename B::Weight> w{
        test::weight(be, values, {16, 16}, WeightRole::linear), {}, 16, 16};
    const auto step = [&] { be.step({}, [&] { be.linear(y, x, w, Activation::none); }); };
    host.max_bytes = 1000;
    CHECK_THROWS_AS(step(), OutOfMemoryError);
    host.max_bytes = std::numeric_limits<Index>::max();
    CHECK(be.recorded_steps() == 0);
    step();
    CHECK(be.recorded_steps() == 1);
    CHECK(detail::to_floats(be, y) == std::vector<float>(16 * 16, 4.0f));
  }
  CHECK(host.live == live);
}

#else

/// An image that is written by a stream of the test, optionally after a delay.
class SlowProducer {
 public:
  SlowProducer() {
    REQUIRE(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking) == cudaSuccess);
    REQUIRE(cudaMallocAsync(&memory_, kBytes, stream_) == cudaSuccess);
    fill(0);
  }
  SlowProducer(const SlowProducer&) = delete;
  SlowProducer& operator=(const SlowProducer&) = delete;
  ~SlowProducer() {
    cudaFreeAsync(memory_, stream_);
    cudaStreamSynchronize(stream_);
    cudaStreamDestroy(stream_);
  }

  void fill(int value) { REQUIRE(cudaMemsetAsync(memory_, value, kBytes, stream_) == cudaSuccess); }
  void delay() {
    const auto sleep = [](void*) { std::this_thread::sleep_for(std::chrono::milliseconds(50)); };
    REQUIRE(cudaLaunchHostFunc(stream_, sleep, nullptr) == cudaSuccess);
  }
  Frame frame() const { return cuda::borrow({.data = memory_, .stream = stream_}, 64, 64); }

 private:
  static constexpr std::size_t kBytes = 64 * 64 * 3;
  cudaStream_t stream_ = nullptr;
  void* memory_ = nullptr;
};

TEST_CASE("A frame is read after its producer's work and before later work", "[cuda]") {
  PreprocessConfig config;
  config.image_size = 32;
  B be;
  Tensor<B> pixels(be, {1, 3, 32, 32}, DType::f32);
  Clip clip;
  clip.frames = {Frame::own(std::vector<std::uint8_t>(64 * 64 * 3, 200), 64, 64)};
  const auto expected = pllava::preprocess(clip, config);
  SlowProducer producer;
  const Frame frame = producer.frame();
  for (int again = 0; again < 5; ++again) {
    producer.delay();
    producer.fill(200);
    be.preprocess(pixels, {&frame, 1}, config);
    producer.fill(0);
    CHECK(detail::to_floats(be, pixels) == expected);
  }
}

#endif

TEST_CASE("A recorded step is replayed for every KV length of its bucket", "[cuda]") {
  B be({.dtype = DType::f32}), ungraphed({.dtype = DType::f32, .graphs = false});
  const ModelConfig config = tiny();
  const auto decode = [&](B& backend) {
    const LanguageModel<B> model(backend, config.text, RandomWeights::scope(1)["language_model"]);
    constexpr Index kCapacity = 300;
    KvCache<B> kv = model.make_cache(backend, kCapacity);
    // Fills the cache with 253 rows of zeros.
    const std::vector<float> zeros(
        static_cast<std::size_t>(config.text.kv_heads * kCapacity * config.text.head_dim));
    for (Index l = 0; l < config.text.layers; ++l)
      for (const auto& memory : {kv.layer(l).keys, kv.layer(l).values})
        backend.upload({memory.get(), DType::f32, {static_cast<Index>(zeros.size())}},
                       zeros.data());
    kv.commit(backend, 253 - kv.length());
    Tensor<B> logits(backend, {1, config.text.vocab}, DType::f32);
    auto id = test::ids(backend, {5});
    Sampler sampler;
    std::vector<std::int32_t> tokens;
    for (int i = 0; i < 6; ++i) {  // 3 with up to 256 rows, 3 with more
      model.step(backend, id, kv, logits);
      tokens.push_back(ops::sample(backend, id.view(), logits.view(), sampler));
    }
    return tokens;
  };
  CHECK(decode(be) == decode(ungraphed));
  CHECK(be.recorded_steps() == 2);
  CHECK(be.replayed_steps() == 4);
  CHECK(ungraphed.recorded_steps() == 0);
}

}  // namespace
