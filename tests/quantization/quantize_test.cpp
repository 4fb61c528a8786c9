// Which tensors of a model are quantized, and the logits of a quantized model.
#include "pllava/quantization/quantize.hpp"

#include <map>
#include <string>

#include "pllava/pllava.hpp"
#include "pllava/reference/backend.hpp"
#include "support/catch.hpp"
#include "support/quantized_model.hpp"
#include "support/tensors.hpp"

namespace {

using namespace pllava;

TEST_CASE("Only matrices of layers, projector and lm_head are quantized", "[quantize]") {
  std::map<WeightFormat, int> counts;
  for (const TensorSpec& spec : model_tensors(ModelConfig::preset("tiny"))) {
    const Quantization q = quantization_of(spec, QuantizeOptions::of(WeightFormat::int4));
    INFO(spec.name);
    ++counts[q.format];
    if (spec.shape.rank() != 2) CHECK(q.format == WeightFormat::unquantized);
    if (spec.name.find("embedding") != std::string::npos)
      CHECK(q.format == WeightFormat::unquantized);
    if (spec.name.ends_with("lm_head.weight")) CHECK(q.format == WeightFormat::int8);
    if (spec.name.ends_with("down_proj.weight")) CHECK(q.format == WeightFormat::int4);
    if (spec.name.ends_with("fc1.weight")) CHECK(q.format == WeightFormat::int8);
  }
  CHECK(counts[WeightFormat::int4] > 0);
  CHECK(counts[WeightFormat::int8] > 0);
  CHECK(QuantizeOptions::of(WeightFormat::unquantized).any() == false);
}

TEST_CASE("quantized rejects an unsupported group size before any tensor is read", "[quantize]") {
  QuantizeOptions options = QuantizeOptions::of(WeightFormat::int4);
  options.language.group = 48;
  CHECK_THROWS_AS(quantized(RandomWeights::scope(1, DType::bf16), options), ArgumentError);
}

TEST_CASE("The CPU backend rejects fp8, the reference backend supports it", "[quantize]") {
  const auto options = QuantizeOptions::of(WeightFormat::fp8);
  CHECK_THROWS_AS(test::logits(cpu::Backend(), options), ArgumentError);
  const double error = test::distance(test::logits(reference::Backend(), options),
                                      test::logits(reference::Backend(), {}));
  CHECK(error > 1e-4);
  CHECK(error < 0.1);
}

TEST_CASE("A quantized model on the CPU matches the reference with the same weights",
          "[quantize]") {
  const auto exact = test::logits(reference::Backend(), {});
  for (const WeightFormat format : {WeightFormat::int8, WeightFormat::int4}) {
    INFO(name_of(format));
    const QuantizeOptions options = QuantizeOptions::of(format);
    const auto expected = test::logits(reference::Backend(), options);
    const auto got = test::logits(cpu::Backend({.dtype = DType::f32, .threads = 2}), options);
    CHECK(test::distance(got, expected) < 0.05);  // the CPU also quantizes activations to 8 bits
    CHECK(test::distance(expected, exact) > 1e-4);
    CHECK(test::distance(expected, exact) < (format == WeightFormat::int8 ? 0.05 : 0.3));
  }
}

}  // namespace
