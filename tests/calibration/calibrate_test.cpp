// AWQ: folding scales does not change results, and scaled weights have smaller quantization errors.
#include "pllava/calibration/calibrate.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "pllava/pllava.hpp"
#include "support/catch.hpp"
#include "support/temp_directory.hpp"
#include "support/tensors.hpp"

namespace {

using namespace pllava;
namespace fs = std::filesystem;
using Values = std::vector<float>;

constexpr Quantization kInt4 = {WeightFormat::int4};

ModelConfig tiny() {
  ModelConfig config = ModelConfig::preset("tiny");
  config.text.layers = 3;
  return config;
}

PreprocessConfig preprocess_config(const ModelConfig& config) {
  PreprocessConfig preprocess;
  preprocess.image_size = config.vision.image_size;
  return preprocess;
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

std::vector<PerProjection<InputSample>> inputs_of(const WeightScope& weights,
                                                  const std::vector<Clip>& clips) {
  const ModelConfig config = tiny();
  return record_inputs(weights, config, Tokenizer::bytes(config.image_token),
                       preprocess_config(config), clips);
}

Calibration calibration_of(const WeightScope& weights, const Quantization& format = kInt4,
                           const std::vector<Clip>& clips = {noise(1)}, Index threads = 2) {
  const ModelConfig config = tiny();
  CalibrationOptions options;
  options.backend.threads = threads;
  return calibrate(weights, config, Tokenizer::bytes(config.image_token), preprocess_config(config),
                   clips, format, options);
}

/// Scales between 1/8 and 8, equal where query heads share a kv head.
Calibration arbitrary_scales(const TextConfig& t) {
  std::uint64_t seed = 5;
  const auto random = [&seed](Index n) {
    Values s = test::uniform(n, seed++);
    for (float& v : s) v = std::exp2(3 * v);
    return s;
  };
  Calibration calibration;
  for (Index l = 0; l < t.layers; ++l) {
    auto& layer = calibration.layers.emplace_back();
    layer[Projection::qkv].scales = random(t.width);
    layer[Projection::gate_up].scales = random(t.width);
    layer[Projection::down].scales = random(t.ffn);
    const Values kv = random(t.kv_heads * t.head_dim);
    Values& o = layer[Projection::o].scales;
    for (Index h = 0; h < t.heads; ++h)
      for (Index d = 0; d < t.head_dim; ++d)
        o.push_back(kv[static_cast<std::size_t>(h / (t.heads / t.kv_heads) * t.head_dim + d)]);
  }
  return calibration;
}

/// Logits after a few tokens.
Values logits(const WeightScope& weights, const TextConfig& config, DType dtype = DType::f32) {
  cpu::Backend be({.dtype = dtype, .threads = 2});
  const LanguageModel<cpu::Backend> model(be, config, weights["language_model"]);
  KvCache<cpu::Backend> kv = model.make_cache(be, 16);
  Tensor<cpu::Backend> y(be, {1, config.vocab}, DType::f32);
  const std::vector<std::int32_t> ids = {1, 5, 9, 3, 3, 20};
  auto x = model.embed(be, ids);
  model.forward(be, x, kv, y);
  return detail::to_floats(be, y);
}

/// Approximately normal weights, and input rows in which one channel of 26 is `factor` times larger
/// than the others.
struct SalientChannels {
  static constexpr Index kRows = 64, kIn = 256, kOut = 96;
  static bool large(Index k) { return k % 26 == 5; }
  Values x = test::uniform(kRows * kIn, 1), w = Values(kOut * kIn);
  InputSample input;

  explicit SalientChannels(float factor) {
    for (std::uint64_t seed = 2; seed < 8; ++seed) {
      const Values part = test::uniform(kOut * kIn, seed);
      for (std::size_t i = 0; i < w.size(); ++i) w[i] += part[i];
    }
    for (Index i = 0; i < kRows * kIn; ++i)
      if (large(i % kIn)) x[static_cast<std::size_t>(i)] *= factor;
    input.add({x.data(), DType::f32, {kRows, kIn}});
  }
  HostTensor matrix() const {
    return {DType::f32, {kOut, kIn}, reinterpret_cast<const std::byte*>(w.data()), nullptr};
  }
};

const std::vector<Quantization> kFormats = {kInt4,
                                            {WeightFormat::int4, 128},
                                            {WeightFormat::int4, 32, true},
                                            {WeightFormat::int4, 128, true}};

TEST_CASE("Folding scales into a model does not change its logits", "[calibrate]") {
  // Group sizes 1, 3 and all query heads.
  for (const char* model : {"plain_f32", "peft_sharded", "newer_names"}) {
    INFO(model);
    const Checkpoint checkpoint = Checkpoint::open(fs::path(PLLAVA_TEST_DATA "/model") / model);
    const TextConfig& text = checkpoint.config().text;
    const WeightScope weights = checkpoint[""];
    const WeightScope scaled = awq_scaled(weights, text, arbitrary_scales(text));
    CHECK(test::distance(logits(scaled, text), logits(weights, text)) < 1e-5);
    const TensorTable table = language_tensors(text);
    for (const char* name : {"input_layernorm.weight", "post_attention_layernorm.weight",
                             "self_attn.v_proj.weight", "mlp.down_proj.weight"}) {
      const TensorSpec& spec = *table.find(std::string("model.layers.1.") + name);
      const HostTensor t = scaled["language_model"].tensor(spec);
      CHECK(t.dtype == DType::f32);
      CHECK(t.shape == spec.shape);
      const HostTensor before = weights["language_model"].tensor(spec);
      CHECK(load_float(t.data, t.dtype, 3) != load_float(before.data, before.dtype, 3));
    }
  }
}

TEST_CASE("The input of each projection is divided by its folded scales", "[calibrate]") {
  const ModelConfig config = tiny();
  const WeightScope weights = RandomWeights::scope(4);
  const Calibration scales = arbitrary_scales(config.text);
  const std::vector<Clip> clips = {noise(1), noise(2)};
  const auto unscaled = inputs_of(weights, clips);
  const auto scaled = inputs_of(awq_scaled(weights, config.text, scales), clips);
  REQUIRE(unscaled.size() == static_cast<std::size_t>(config.text.layers));
  for (std::size_t l = 0; l < unscaled.size(); ++l)
    for (const Projection p : kProjections) {
      INFO("layer " << l << ", " << name_of(p));
      const Values& s = scales.layers[l][p].scales;
      Values mean = scaled[l][p].mean(), rows = scaled[l][p].rows();
      REQUIRE(mean.size() == s.size());
      for (std::size_t k = 0; k < mean.size(); ++k) mean[k] *= s[k];
      for (std::size_t i = 0; i < rows.size(); ++i) rows[i] *= s[i % s.size()];
      CHECK(test::distance(mean, unscaled[l][p].mean()) < 1e-4);
      CHECK(test::distance(rows, unscaled[l][p].rows()) < 1e-4);
      // After the attention of the last layer only rows with logits are computed.
      const bool only_logits = l + 1 == unscaled.size() && p != Projection::qkv;
      CHECK(unscaled[l][p].seen() == scaled[l][p].seen());
      if (only_logits)
        CHECK(unscaled[l][p].seen() < 2 * 34);
      else
        CHECK(unscaled[l][p].seen() > 2 * config.pool.output.count());
      CHECK(unscaled[l][p].seen() >= 2);
    }
}

TEST_CASE("InputSample keeps a bounded number of evenly spaced rows", "[calibrate]") {
  InputSample sample;
  CHECK(sample.kept() == 0);
  constexpr Index kRows = 1000;
  Values x;
  for (Index n = 0; n < kRows; ++n) x.insert(x.end(), {static_cast<float>(n), -2.0f});
  for (Index n = 0; n < kRows; n += 250)  // in four calls
    sample.add({x.data() + n * 2, DType::f32, {250, 2}});
  CHECK(sample.seen() == kRows);
  CHECK(sample.mean() == Values{499.5f, 2.0f});
  CHECK(sample.mean_square() == Values{332833.5f, 4.0f});
  CHECK(sample.stride() == 8);
  REQUIRE(sample.kept() == 125);
  for (Index i = 0; i < sample.kept(); ++i)
    CHECK(sample.rows()[static_cast<std::size_t>(2 * i)] == static_cast<float>(8 * i));
  std::vector<bf16> half = {from_float<bf16>(3.0f), from_float<bf16>(-4.0f)};
  InputSample other;
  other.add({half.data(), DType::bf16, {1, 2}});
  CHECK(other.rows() == Values{3, -4});
  CHECK_THROWS_AS(other.add({x.data(), DType::f32, {2, 1}}), ShapeError);
}

TEST_CASE("output_error is the error of the quantized matrix", "[calibrate]") {
  cpu::Backend be({.threads = 2});
  const SalientChannels data(8);
  const HostTensor w = data.matrix();
  const Values scales = arbitrary_scales({.width = SalientChannels::kIn, .layers = 1})
                            .layers[0][Projection::qkv]
                            .scales;
  Values importance = data.input.mean_square(), costs = importance;
  for (std::size_t k = 0; k < costs.size(); ++k) costs[k] /= scales[k] * scales[k];
  for (const bool with_importance : {false, true}) {
    Values actual, expected;
    for (Index n = 0; n < SalientChannels::kOut; ++n) {
      Values row(data.w.begin() + n * SalientChannels::kIn,
                 data.w.begin() + (n + 1) * SalientChannels::kIn);
      for (std::size_t k = 0; k < row.size(); ++k) row[k] *= scales[k];
      const QuantizedRow q = quantize(row, kInt4, with_importance ? costs : Values{});
      for (Index r = 0; r < SalientChannels::kRows; ++r) {
        double y = 0, exact = 0;
        for (std::size_t k = 0; k < row.size(); ++k) {
          const double x = data.x[static_cast<std::size_t>(r * SalientChannels::kIn) + k];
          y += x / scales[k] * q.dequantized(kInt4, k);
          exact += x * data.w[static_cast<std::size_t>(n * SalientChannels::kIn) + k];
        }
        actual.push_back(static_cast<float>(y));
        expected.push_back(static_cast<float>(exact));
      }
    }
    CHECK(output_error(be, {&w, 1}, data.input, kInt4, scales,
                       with_importance ? importance : Values{}) ==
          Approx(test::distance(actual, expected)).epsilon(1e-3));
  }
}

TEST_CASE("Calibration never increases the error on its own rows", "[calibrate]") {
  cpu::Backend be({.threads = 2});
  for (const float factor : {1.0f, 0.0f, 3.0f, 1000.0f}) {
    const SalientChannels data(factor);
    const HostTensor w = data.matrix();
    for (const Quantization& format : kFormats) {
      const ProjectionScales best = best_scales(be, {&w, 1}, data.input, format);
      CHECK(best.error <= best.unscaled_error);
      const Values ones(static_cast<std::size_t>(SalientChannels::kIn), 1.0f);
      CHECK(output_error(be, {&w, 1}, data.input, format, ones) == best.unscaled_error);
      CHECK(output_error(be, {&w, 1}, data.input, format, best.scales, best.importance) ==
            best.error);
    }
  }
}

TEST_CASE("Quantized weights have the error that calibration reports", "[calibrate]") {
  const ModelConfig config = tiny();
  const WeightScope weights = RandomWeights::scope(4);
  const Calibration calibration = calibration_of(weights);
  const WeightScope scaled = quantized(awq_scaled(weights, config.text, calibration),
                                       QuantizeOptions::of(WeightFormat::int4));
  const auto inputs = inputs_of(weights, {noise(1)});
  for (const auto& [projection, name, rows, cols] :
       std::vector<std::tuple<Projection, std::string, Index, Index>>{
           {Projection::o, "self_attn.o_proj.weight", config.text.width,
            config.text.heads * config.text.head_dim},
           {Projection::down, "mlp.down_proj.weight", config.text.width, config.text.ffn}}) {
    const std::string full = "language_model.model.layers.0." + name;
    const TensorTable table = model_tensors(config);
    const TensorSpec& spec = *table.find(full);
    REQUIRE(spec.shape == Shape{rows, cols});
    const HostTensor exact = weights.tensor(spec);
    const HostTensor stored = scaled.tensor(spec);
    const ProjectionScales& scales = calibration.layers[0][projection];
    const InputSample& input = inputs[0][projection];
    Values expected, actual;
    for (Index n = 0; n < rows; ++n) {
      const QuantizedRow row = quantized_row(stored, n);
      for (Index r = 0; r < input.kept(); ++r) {
        double e = 0, y = 0;
        for (Index k = 0; k < cols; ++k) {
          const auto at = static_cast<std::size_t>(k);
          const double x = input.rows()[static_cast<std::size_t>(r * cols + k)];
          e += x * load_float(exact.data, exact.dtype, n * cols + k);
          y += x / scales.scales[at] * row.channel_scale * row.int8_value(stored.quantization, at);
        }
        expected.push_back(static_cast<float>(e));
        actual.push_back(static_cast<float>(y));
      }
    }
    CHECK(scales.error < scales.unscaled_error);
    CHECK(test::distance(actual, expected) == Approx(scales.error).epsilon(1e-3));
  }
}

TEST_CASE("Calibration reduces the mean error and ignores formats and threads", "[calibrate]") {
  const ModelConfig config = tiny();
  const WeightScope weights = RandomWeights::scope(4);
  const Calibration calibration = calibration_of(weights);
  CHECK(calibration.mean_error() < calibration.mean_unscaled_error());
  CHECK(calibration.mean_unscaled_error() > 0.02);
  for (const auto& layer : calibration.layers)
    for (const ProjectionScales& p : layer.each) CHECK(p.error <= p.unscaled_error);
  // Formats set on the weights and the number of threads do not matter.
  const Calibration same = calibration_of(
      quantized(weights, QuantizeOptions::of(WeightFormat::int8)), kInt4, {noise(1)}, 1);
  for (std::size_t l = 0; l < same.layers.size(); ++l)
    for (const Projection p : kProjections)
      CHECK(same.layers[l][p].scales == calibration.layers[l][p].scales);
  CHECK_NOTHROW(
      awq_scaled(weights, config.text, calibration));  // query heads of a kv head share scales of o
}

TEST_CASE("A calibrated checkpoint matches its quantized, scaled weights", "[calibrate]") {
  const test::TempDirectory temp;
  const ModelConfig config = tiny();
  write_random_checkpoint(temp / "in", config, 4);
  LoadOptions options;
  options.quantize = QuantizeOptions::of(WeightFormat::int4);
  const Checkpoint in = Checkpoint::open(temp / "in", options);
  const Calibration calibration = calibration_of(in[""]);
  write_quantized_checkpoint(temp / "out", temp / "in", options, calibration);
  const Checkpoint out = Checkpoint::open(temp / "out");
  CHECK(out.stored_formats() == options.quantize);
  CHECK(out.report().dtype() == DType::bf16);
  const Values expected =
      logits(awq_scaled(in[""], config.text, calibration), config.text, DType::bf16);
  CHECK(logits(out[""], config.text, DType::bf16) == expected);
  CHECK(logits(in[""], config.text, DType::bf16) != expected);

  // Quantized weights cannot be calibrated, scaled or quantized again.
  CHECK_THROWS_AS(calibration_of(out[""]), ArgumentError);
  CHECK_THROWS_AS(logits(awq_scaled(out[""], config.text, calibration), config.text),
                  ArgumentError);
  CHECK_THROWS_AS(write_quantized_checkpoint(temp / "b", temp / "out", options, calibration),
                  ArgumentError);
  CHECK_THROWS_AS(write_quantized_checkpoint(temp / "out", temp / "in", options, calibration),
                  FileError);  // exists already

  // A failed write leaves no file.
  Index reports = 0;
  const RunControl cancel{nullptr, [&](std::string_view, Index, Index) {
                            if (++reports == 5) throw CancelledError("test");
                          }};
  CHECK_THROWS_AS(write_quantized_checkpoint(temp / "c", temp / "in", options, calibration, cancel),
                  CancelledError);
  Calibration other = calibration;
  other.layers.pop_back();
  CHECK_THROWS_AS(write_quantized_checkpoint(temp / "c", temp / "in", options, other),
                  ArgumentError);
  options.quantize = QuantizeOptions::of(WeightFormat::int8);
  CHECK_THROWS_AS(write_quantized_checkpoint(temp / "c", temp / "in", options, calibration),
                  ArgumentError);
  std::vector<std::string> left;
  for (const auto& entry : fs::directory_iterator(temp.path()))
    left.push_back(entry.path().filename().string());
  std::ranges::sort(left);
  CHECK(left == std::vector<std::string>{"in", "out"});
}

TEST_CASE("Calibration rejects invalid arguments", "[calibrate]") {
  const ModelConfig config = tiny();
  const WeightScope weights = RandomWeights::scope(4);
  CHECK_THROWS_AS(calibration_of(weights, kInt4, {}), ArgumentError);
  CHECK_THROWS_AS(calibration_of(weights, kInt4, {Clip{}}), MediaError);
  CHECK_THROWS_AS(calibration_of(weights, {WeightFormat::int8}), ArgumentError);
  CHECK_THROWS_AS(calibration_of(weights, {}), ArgumentError);
  CHECK_THROWS_AS(calibration_of(weights, {WeightFormat::int4, 48}), ArgumentError);

  const auto reject = [&](const auto& change) {
    Calibration changed = arbitrary_scales(config.text);
    change(changed.layers[1]);
    CHECK_THROWS_AS(awq_scaled(weights, config.text, changed), ArgumentError);
  };
  reject([](auto& layer) { layer[Projection::qkv].scales.pop_back(); });
  reject([](auto& layer) { layer[Projection::down].scales.clear(); });
  reject([](auto& layer) { layer[Projection::gate_up].scales[3] = 0; });
  reject([](auto& layer) { layer[Projection::gate_up].scales[3] = -1; });
  reject([](auto& layer) { layer[Projection::down].scales[3] = HUGE_VALF; });
  reject([](auto& layer) { layer[Projection::down].importance = {1}; });
  reject([](auto& layer) { layer[Projection::o].importance.assign(64, -1); });
  reject([](auto& layer) { layer[Projection::o].scales[1] *= 2; });  // unequal within a kv head

  cpu::Backend be({.threads = 2}), half({.dtype = DType::bf16});
  SalientChannels data(8);
  const HostTensor w = data.matrix();
  CHECK_THROWS_AS(best_scales(be, {&w, 1}, InputSample{}, kInt4), ArgumentError);
  CHECK_THROWS_AS(best_scales(half, {&w, 1}, data.input, kInt4), ArgumentError);
  CHECK_THROWS_AS(output_error(be, {&w, 1}, data.input, kInt4, Values(3, 1.0f)), ShapeError);
  CHECK_THROWS_AS(best_scales(be, {&w, 1}, data.input, kInt4, {3, 1, 64}), ShapeError);
  data.x[7] = HUGE_VALF;
  data.input.add({data.x.data(), DType::f32, {1, SalientChannels::kIn}});
  CHECK_THROWS_AS(best_scales(be, {&w, 1}, data.input, kInt4), ArgumentError);
}

}  // namespace
