// Calibration: recorded inputs, error feedback, and checkpoints quantized with both.
#include "pllava/calibration/calibrate.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "pllava/pllava.hpp"
#include "pllava/reference/backend.hpp"
#include "support/catch.hpp"
#include "support/temp_directory.hpp"
#include "support/tensors.hpp"

namespace {

using namespace pllava;
namespace fs = std::filesystem;
using Values = std::vector<float>;

const std::vector<Quantization> kFormats = {{.format = WeightFormat::int8},
                                            {.format = WeightFormat::int4},
                                            {WeightFormat::int4, 128, false},
                                            {WeightFormat::int4, 32, true}};
const QuantizeOptions kInt4 = QuantizeOptions::of(WeightFormat::int4);
const std::string kLayer = "language_model.model.layers.1.";

ModelConfig tiny() {
  ModelConfig config = ModelConfig::preset("tiny");
  config.text.layers = 3;
  return config;
}

/// A clip of noise that owns its pixels.
Clip noise(std::uint32_t seed) {
  Clip clip;
  for (int t = 0; t < 4; ++t) {
    std::vector<std::uint8_t> bytes(60 * 50 * 3);
    for (std::uint8_t& b : bytes)
      b = static_cast<std::uint8_t>((seed = seed * 1664525u + 1u) >> 24);
    clip.frames.push_back(Frame::own(std::move(bytes), 60, 50));
  }
  return clip;
}

void add_clip(Calibration& calibration, const std::vector<Clip>& clips = {noise(1)},
              const RunControl& control = {}) {
  PreprocessConfig preprocess;
  preprocess.image_size = tiny().vision.image_size;
  calibration.add(tiny(), clips, Tokenizer::bytes(tiny().image_token), preprocess, control);
}

std::vector<std::int32_t> tokens(Index count) {
  std::vector<std::int32_t> ids;
  for (Index i = 0; i < count; ++i) ids.push_back(static_cast<std::int32_t>(i * i % 50));
  return ids;
}

/// Calibration options for a model that is too small for the default ones.
CalibrationOptions few_rows(Index threads = 2) {
  CalibrationOptions options;
  options.backend.threads = threads;
  options.min_rows = 16;
  return options;
}

Calibration calibration_of(const WeightScope& weights, const QuantizeOptions& formats = kInt4,
                           Index threads = 2) {
  Calibration calibration(weights, model_tensors(tiny()), formats, few_rows(threads));
  add_clip(calibration);
  calibration.add_text(tiny().text, tokens(300));
  return calibration;
}

/// Logits after a few tokens.
Values logits(const WeightScope& weights) {
  cpu::Backend be({.dtype = DType::bf16, .threads = 2});
  const TextConfig config = tiny().text;
  const LanguageModel<cpu::Backend> model(be, config, weights["language_model"]);
  KvCache<cpu::Backend> kv = model.make_cache(be, 16);
  Tensor<cpu::Backend> y(be, {1, config.vocab}, DType::f32);
  const std::vector<std::int32_t> ids = {1, 5, 9, 3, 3, 20};
  auto x = model.embed(be, ids);
  model.forward(be, x, kv, y);
  return detail::to_floats(be, y);
}

/// Inputs of low rank, as those of real layers, and a matrix.
struct Layer {
  static constexpr Index kRows = 200, kIn = 300, kOut = 50;
  Values x = Values(kRows * kIn), w = test::uniform(kOut * kIn, 3);

  Layer() {
    constexpr Index kRank = 40;
    const Values basis = test::uniform(kRank * kIn, 1), shares = test::uniform(kRows * kRank, 2);
    for (Index r = 0; r < kRows; ++r)
      for (Index i = 0; i < kRank; ++i)
        for (Index k = 0; k < kIn; ++k)
          x[static_cast<std::size_t>(r * kIn + k)] +=
              shares[static_cast<std::size_t>(r * kRank + i)] *
              basis[static_cast<std::size_t>(i * kIn + k)];
  }
  InputSample input() const {
    InputSample sample(256);
    sample.add({x.data(), DType::f32, {kRows, kIn}});
    return sample;
  }
  HostTensor matrix() const {
    return {DType::f32, {kOut, kIn}, reinterpret_cast<const std::byte*>(w.data()),
            nullptr,    {},          "fc.weight"};
  }
  /// The relative error of the outputs x·Wᵀ of a quantized matrix.
  double error(const HostTensor& quantized) const {
    reference::Backend be;
    const auto multiply = [&](const HostTensor& m) {
      const Linear<reference::Backend::Weight> linear{
          be.prepare({&m, 1}, WeightRole::linear), {}, kOut, kIn};
      Tensor<reference::Backend> y(be, {kRows, kOut}, DType::f32);
      ops::linear(be, y.view(), test::tensor(be, x, {kRows, kIn}, DType::f32).view(), linear);
      return detail::to_floats(be, y);
    };
    return test::distance(multiply(quantized), multiply(matrix()));
  }
};

TEST_CASE("InputSample keeps a bounded number of evenly spaced rows", "[calibrate]") {
  InputSample sample(128);
  CHECK(sample.kept() == 0);
  constexpr Index kRows = 1000;
  Values x;
  for (Index n = 0; n < kRows; ++n) x.insert(x.end(), {static_cast<float>(n), -2.0f});
  for (Index n = 0; n < kRows; n += 250)  // in four calls
    sample.add({x.data() + n * 2, DType::f32, {250, 2}});
  CHECK(sample.seen() == kRows);
  CHECK(sample.stride() == 8);
  REQUIRE(sample.kept() == 125);
  for (Index i = 0; i < sample.kept(); ++i)
    CHECK(sample.row(i) == Values{static_cast<float>(8 * i), -2.0f});
  std::vector<bf16> half = {from_float<bf16>(3.0f), from_float<bf16>(-4.0f)};
  InputSample other(2);
  other.add({half.data(), DType::bf16, {1, 2}});
  CHECK(other.row(0) == Values{3, -4});
  CHECK_THROWS_AS(other.add({half.data(), DType::bf16, {2, 1}}), ShapeError);
  CHECK_THROWS_AS(other.add({x.data(), DType::f32, {1, 2}}), ShapeError);
  CHECK_THROWS_AS(InputSample(0), ArgumentError);
  CHECK_THROWS_AS(InputSample(127), ArgumentError);
}

TEST_CASE("The factors of ErrorFeedback decompose the second moments of the inputs",
          "[calibrate]") {
  cpu::Backend be({.dtype = DType::f32, .threads = 2});
  const Layer layer;
  const ErrorFeedback feedback(be, layer.input());
  REQUIRE(feedback.width() == Layer::kIn);
  // H = R·Rᵀ and R = T·diag(R): H[i,j] for i <= j is the sum over c >= j of T[i,c]·T[j,c]·R[c,c]².
  // T has a unit diagonal, so the last column of H gives R[K-1,K-1]² and T[i,K-1], and so on.
  Values x = layer.x;
  for (Index r = 0; r < Layer::kRows; ++r)
    rotate(std::span(x).subspan(static_cast<std::size_t>(r * Layer::kIn), Layer::kIn));
  constexpr auto kIn = static_cast<std::size_t>(Layer::kIn);
  std::vector<double> h(kIn * kIn);
  double trace = 0;
  for (std::size_t i = 0; i < kIn; ++i) {
    for (std::size_t j = 0; j < kIn; ++j)
      for (std::size_t r = 0; r < Layer::kRows; ++r)
        h[i * kIn + j] += double{x[r * kIn + i]} * x[r * kIn + j];
    trace += h[i * kIn + i];
  }
  for (std::size_t i = 0; i < kIn; ++i) h[i * kIn + i] += 0.1 * trace / Layer::kIn;
  for (std::size_t c = kIn; c-- > 0;) {  // eliminates channel c
    const double pivot = h[c * kIn + c];
    REQUIRE(pivot > 0);
    for (std::size_t i = 0; i < c; ++i) {
      const double factor = h[i * kIn + c] / pivot;
      REQUIRE(std::fabs(feedback.factors(static_cast<Index>(i))[c] - factor) < 2e-3);
      for (std::size_t j = 0; j < c; ++j) h[i * kIn + j] -= factor * h[c * kIn + j];
    }
  }
}

TEST_CASE("gptq more than halves the error of the outputs, and reports it", "[calibrate]") {
  cpu::Backend be({.dtype = DType::f32, .threads = 2});
  const Layer layer;
  const ErrorFeedback feedback(be, layer.input());
  for (const Quantization& format : kFormats) {
    INFO(name_of(format.format) << " of " << format.group << ", " << format.zero_points);
    HostTensor rounded = layer.matrix();
    rounded.quantization = format;
    const CalibratedMatrix calibrated = gptq(be, layer.matrix(), format, feedback);
    const double error = layer.error(calibrated.matrix);
    CHECK(error < 0.5 * layer.error(rounded));
    // The sample rows are some of the rows.
    CHECK(std::fabs(calibrated.error / error - 1) < 0.2);
    CHECK(std::fabs(calibrated.rounding_error / layer.error(rounded) - 1) < 0.2);
    for (Index r = 0; r < Layer::kOut; ++r) CHECK_NOTHROW(quantized_row(calibrated.matrix, r));
  }
}

TEST_CASE("gptq handles constant inputs, zeros, and small and odd sizes", "[calibrate]") {
  cpu::Backend be({.dtype = DType::f32, .threads = 2});
  for (const Index in : {1, 3, 31, 33, 257}) {
    for (const float value : {0.0f, 1.0f}) {
      const Values x(static_cast<std::size_t>(4 * in), value), w(static_cast<std::size_t>(2 * in));
      InputSample input(4);
      input.add({x.data(), DType::f32, {4, in}});
      const HostTensor zeros{
          DType::f32, {2, in}, reinterpret_cast<const std::byte*>(w.data()), nullptr};
      for (const Quantization& format : kFormats) {
        const CalibratedMatrix m = gptq(be, zeros, format, ErrorFeedback(be, input));
        CHECK(m.error == 0);
        for (std::size_t k = 0; k < static_cast<std::size_t>(in); ++k)
          CHECK(quantized_row(m.matrix, 1).dequantized(format, k) == 0);
      }
    }
  }
}

TEST_CASE("Calibration records the inputs of every quantized matrix", "[calibrate]") {
  const WeightScope weights = RandomWeights::scope(4);
  const Calibration calibration = calibration_of(weights);
  const auto& inputs = calibration.inputs();
  for (const TensorSpec& spec : model_tensors(tiny())) {
    const bool recorded = is_rotated(quantization_of(spec, kInt4)) &&
                          spec.group != QuantizationGroup::lm_head &&
                          spec.presence == Presence::required;
    INFO(spec.name);
    REQUIRE((inputs.count(spec.name) == 1) == recorded);
    if (!recorded) continue;
    const auto sample = inputs.at(spec.name);
    REQUIRE(sample != nullptr);
    CHECK(sample->width() == spec.shape[1]);
    CHECK(sample->kept() >= 16);
  }
  const auto at = [&](const char* name) { return inputs.at(kLayer + name); };
  CHECK(at("self_attn.q_proj.weight") == at("self_attn.v_proj.weight"));
  CHECK(at("mlp.gate_proj.weight") == at("mlp.up_proj.weight"));
  CHECK(at("mlp.up_proj.weight") != at("mlp.down_proj.weight"));

  // A text alone leaves the vision tower without inputs; its matrices are rounded.
  Calibration text(weights, model_tensors(tiny()), kInt4, few_rows());
  text.add_text(tiny().text, tokens(40));
  for (const auto& [name, sample] : text.inputs())
    CHECK((sample != nullptr) == name.starts_with("language_model."));
}

TEST_CASE("Calibrated weights do not depend on formats of their scope and on threads",
          "[calibrate]") {
  const WeightScope weights = RandomWeights::scope(4);
  const TensorSpec spec{.name = kLayer + "mlp.down_proj.weight",
                        .shape = {tiny().text.width, tiny().text.ffn},
                        .group = QuantizationGroup::language};
  const auto bytes = [&](const WeightScope& source, Index threads) {
    const HostTensor t = calibration_of(source, kInt4, threads).quantized_weights().tensor(spec);
    REQUIRE(t.dtype == DType::u8);
    CHECK(t.quantization == kInt4.language);
    return std::vector<std::byte>(
        t.data, t.data + t.shape[0] * stored_row_bytes(kInt4.language, t.shape[1]));
  };
  const auto expected = bytes(weights, 2);
  CHECK(bytes(weights, 1) == expected);
  CHECK(bytes(quantized(weights, QuantizeOptions::of(WeightFormat::int8)), 2) == expected);
}

TEST_CASE("A calibrated checkpoint equals its weights", "[calibrate]") {
  const test::TempDirectory temp;
  write_random_checkpoint(temp / "in", tiny(), 4);
  LoadOptions options;
  options.quantize = kInt4;
  const Checkpoint in = Checkpoint::open(temp / "in", options);
  std::vector<MatrixError> errors;
  const Calibration calibration = calibration_of(in[""]);
  const WeightScope weights =
      calibration.quantized_weights([&](const MatrixError& e) { errors.push_back(e); });
  write_quantized_checkpoint(temp / "out", temp / "in", options, weights);
  CHECK(errors.size() == calibration.inputs().size());
  for (const MatrixError& e : errors) {
    INFO(e.name);
    CHECK(e.error <= e.rounding_error);
    CHECK(e.error > 0);
    CHECK(e.rows >= 16);
  }
  const Checkpoint out = Checkpoint::open(temp / "out");
  CHECK(out.stored_formats() == kInt4);
  const Values expected = logits(weights);
  CHECK(logits(out[""]) == expected);
  CHECK(logits(in[""]) != expected);

  // Quantized weights cannot be calibrated or quantized again.
  CHECK_THROWS_AS(calibration_of(out[""]), ArgumentError);
  CHECK_THROWS_AS(write_quantized_checkpoint(temp / "b", temp / "out", options, weights),
                  ArgumentError);
  CHECK_THROWS_AS(write_quantized_checkpoint(temp / "out", temp / "in", options, weights),
                  FileError);  // exists already

  // A failed write leaves no file.
  Index reports = 0;
  const RunControl cancel{nullptr, [&](std::string_view, Index, Index) {
                            if (++reports == 5) throw CancelledError("test");
                          }};
  CHECK_THROWS_AS(write_quantized_checkpoint(temp / "c", temp / "in", options, weights, cancel),
                  CancelledError);
  options.quantize.language.group = 128;  // another format than that of the weights
  CHECK_THROWS_AS(write_quantized_checkpoint(temp / "c", temp / "in", options, weights), LoadError);
  std::vector<std::string> left;
  for (const auto& entry : fs::directory_iterator(temp.path()))
    left.push_back(entry.path().filename().string());
  std::sort(left.begin(), left.end());
  CHECK(left == std::vector<std::string>{"in", "out"});
}

TEST_CASE("Calibration can be cancelled", "[calibrate]") {
  Calibration calibration(RandomWeights::scope(4), model_tensors(tiny()), kInt4, few_rows());
  const RunControl cancel{nullptr, [](std::string_view stage, Index, Index) {
                            if (stage != "load") throw CancelledError("test");
                          }};
  CHECK_THROWS_AS(calibration.add_text(tiny().text, tokens(100), cancel), CancelledError);
  CHECK_THROWS_AS(add_clip(calibration, {noise(1)}, cancel), CancelledError);
}

TEST_CASE("Calibration rejects invalid arguments", "[calibrate]") {
  const WeightScope weights = RandomWeights::scope(4);
  const TensorTable tensors = model_tensors(tiny());
  CHECK_THROWS_AS(Calibration(weights, tensors, {}), ArgumentError);
  CHECK_THROWS_AS(Calibration(weights, tensors, QuantizeOptions::of(WeightFormat::fp8)),
                  ArgumentError);
  QuantizeOptions group_of_48 = kInt4;
  group_of_48.language.group = 48;
  CHECK_THROWS_AS(Calibration(weights, tensors, group_of_48), ArgumentError);
  Calibration calibration(weights, tensors, kInt4, few_rows());
  CHECK_THROWS_AS(calibration.quantized_weights(), ArgumentError);  // nothing was recorded
  CHECK_THROWS_AS(add_clip(calibration, {}), ArgumentError);
  CHECK_THROWS_AS(add_clip(calibration, {Clip{}}), MediaError);
  CHECK_THROWS_AS(calibration.add_text(tiny().text, tokens(1)), ArgumentError);
  CHECK_THROWS_AS(calibration.add_text(tiny().text, std::vector<std::int32_t>{1, 1 << 20}),
                  ArgumentError);

  cpu::Backend be({.dtype = DType::f32, .threads = 2}), half({.dtype = DType::bf16});
  const Layer layer;
  CHECK_THROWS_AS(ErrorFeedback(be, InputSample(4)), ArgumentError);
  CHECK_THROWS_AS(ErrorFeedback(half, layer.input()), ArgumentError);
  for (const float bad : {HUGE_VALF, NAN}) {
    InputSample input = layer.input();
    Values row(Layer::kIn, 1.0f);
    row[7] = bad;
    input.add({row.data(), DType::f32, {1, Layer::kIn}});
    CHECK_THROWS_AS(ErrorFeedback(be, input), ArgumentError);
  }
  const ErrorFeedback feedback(be, layer.input());
  CHECK_THROWS_AS(gptq(be, layer.matrix(), {}, feedback), ArgumentError);
  CHECK_THROWS_AS(gptq(be, layer.matrix(), {.format = WeightFormat::fp8}, feedback), ArgumentError);
  HostTensor other = layer.matrix();
  other.shape = {Layer::kOut * 2, Layer::kIn / 2};
  CHECK_THROWS_AS(gptq(be, other, kFormats[0], feedback), ShapeError);
  const CalibratedMatrix quantized_once = gptq(be, layer.matrix(), kFormats[0], feedback);
  CHECK_THROWS_AS(gptq(be, quantized_once.matrix, kFormats[0], feedback), ArgumentError);
  Layer broken;
  broken.w[100] = NAN;
  CHECK_THROWS_AS(gptq(be, broken.matrix(), kFormats[0], feedback), ArgumentError);
}

}  // namespace
