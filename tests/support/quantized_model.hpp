// Logits of a small model with quantized weights, on any backend.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "pllava/pllava.hpp"

namespace test {

/// Logits after a video and a few tokens.
template <pllava::Backend B>
std::vector<float> logits(B backend, const pllava::QuantizeOptions& options) {
  using namespace pllava;
  const ModelConfig config = ModelConfig::preset("tiny");
  const WeightScope weights = quantized(RandomWeights::scope(3, DType::bf16), options);
  auto components = Llava::build(backend, config, weights);
  const auto model = std::make_shared<const BackendModel<B, decltype(components)>>(
      std::move(backend), config, std::move(components));
  const auto context = model->make_context(0);
  std::vector<std::uint8_t> bytes(90 * 80 * 3);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(i * i / 7);
  const std::vector<Frame> frames(static_cast<std::size_t>(config.frames),
                                  Frame::borrow(bytes.data(), 90, 80));
  PreprocessConfig preprocess;
  preprocess.image_size = config.vision.image_size;
  context->append_video(context->encode_clip(frames, preprocess, {}, nullptr), {});
  const std::vector<std::int32_t> ids = {1, 5, 9};
  context->append_tokens(ids, {});
  return context->logits();
}

}  // namespace test
