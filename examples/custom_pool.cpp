// The parts by hand, on tiny random weights, with a pooling of one's own between them.
#include <algorithm>
#include <iostream>

#include "pllava/pllava.hpp"

// Any type with this call operator is a pooling: here the mean over time, (T·H·W, D) -> (H·W, D).
struct MeanOverTime {
  template <pllava::Backend B>
  pllava::Tensor<B> operator()(B& be, pllava::ConstView x, const pllava::Grid& in) const {
    pllava::Tensor<B> y(be, {in.h * in.w, x.cols()}, x.dtype);
    pllava::ops::pool3d(be, y, x, in, {1, in.h, in.w}, pllava::PoolKind::average);
    return y;
  }
};

int main() {
  using B = pllava::cpu::Backend;
  B be({.threads = 2});
  const auto config = pllava::ModelConfig::preset("tiny");
  const auto weights = pllava::RandomWeights::scope(1);
  const pllava::VisionEncoder<B> vision(be, config.vision, weights["vision_tower"]);
  const pllava::Projector<B> project(be, config.projector, weights["multi_modal_projector"]);
  const pllava::LanguageModel<B> llm(be, config.text, weights["language_model"]);

  const pllava::Index T = 4, S = config.vision.image_size, side = config.vision.grid_side();
  pllava::Tensor<B> pixels(be, {T, 3, S, S}, pllava::DType::f32);
  std::fill_n(pixels.view().as<float>(), pixels.shape().count(), 0.5f);
  const auto features = vision(be, pixels);  // (T·P, D)
  const auto pooled = MeanOverTime{}(be, project.hidden(be, features), {T, side, side});
  auto video = project.output(be, pooled);  // (P, D)
  auto cache = llm.make_cache(be, config.text.context);
  pllava::Tensor<B> logits(be, {1, config.text.vocab}, pllava::DType::f32);  // (1, V)
  llm.forward(be, video, cache, logits);
  std::cout << video.view().rows() << " rows of video, first logit " << logits.view().as<float>()[0]
            << '\n';
}
