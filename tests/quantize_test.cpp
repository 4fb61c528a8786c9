// Which tensors of a model are rounded, and what a rounded model computes.
#include "pllava/quantize.hpp"

#include <map>
#include <string>

#include "pllava/pllava.hpp"
#include "pllava/reference/backend.hpp"
#include "support/catch.hpp"
#include "support/tensors.hpp"

namespace {

using namespace pllava;

TEST_CASE("Matrices of layers, projector and lm_head are rounded, nothing else", "[quantize]") {
  std::map<WeightFormat, int> counts;
  for (const TensorSpec& spec : model_tensors(ModelConfig::preset("tiny"))) {
    const Quantization q =
        quantization_of(spec.name, spec.shape, QuantizeOptions::of(WeightFormat::int4));
    INFO(spec.name);
    ++counts[q.format];
    if (spec.shape.rank() != 2) CHECK(q.format == WeightFormat::plain);
    if (spec.name.find("embedding") != std::string::npos) CHECK(q.format == WeightFormat::plain);
    if (spec.name.ends_with("lm_head.weight")) CHECK(q.format == WeightFormat::int8);
    if (spec.name.ends_with("down_proj.weight")) CHECK(q.format == WeightFormat::int4);
    if (spec.name.ends_with("fc1.weight")) CHECK(q.format == WeightFormat::int8);
  }
  CHECK(counts[WeightFormat::int4] > 0);
  CHECK(counts[WeightFormat::int8] > 0);
  CHECK(QuantizeOptions::of(WeightFormat::plain).any() == false);
}

TEST_CASE("A group that does not exist is refused before anything is read", "[quantize]") {
  QuantizeOptions options = QuantizeOptions::of(WeightFormat::int4);
  options.language.group = 48;
  CHECK_THROWS_AS(quantized(RandomWeights::scope(1, DType::bf16), options), ArgumentError);
}

template <Backend B>
std::vector<float> logits(B backend, const QuantizeOptions& options) {
  const ModelConfig config = ModelConfig::preset("tiny");
  const auto model = std::make_shared<const ModelOn<B>>(
      std::move(backend), config, quantized(RandomWeights::scope(3, DType::bf16), options));
  const auto engine = model->make_engine(0);
  std::vector<std::uint8_t> bytes(90 * 80 * 3);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(i * i / 7);
  const std::vector<Frame> frames(static_cast<std::size_t>(config.frames),
                                  Frame::borrow(bytes.data(), 90, 80));
  PreprocessConfig pixels;
  pixels.image_size = config.vision.image_size;
  engine->append_video(frames, pixels, {}, nullptr);
  const std::vector<std::int32_t> ids = {1, 5, 9};
  engine->append_tokens(ids, {});
  return engine->logits();
}

TEST_CASE("A rounded model computes what its rounded weights say", "[quantize]") {
  const auto exact = logits(reference::Backend(), {});
  for (const WeightFormat format : {WeightFormat::int8, WeightFormat::int4}) {
    INFO(name_of(format));
    const QuantizeOptions options = QuantizeOptions::of(format);
    const auto expected = logits(reference::Backend(), options);
    const auto got = logits(cpu::Backend({.dtype = DType::f32, .threads = 2}), options);
    CHECK(test::distance(got, expected) < 0.05);  // rows are rounded to 8 bits, too
    CHECK(test::distance(expected, exact) > 1e-4);
    CHECK(test::distance(expected, exact) < (format == WeightFormat::int8 ? 0.05 : 0.3));
  }
}

}  // namespace
