// A pooling of your own in a Pipeline, on tiny random weights.
#include <cstdint>
#include <iostream>
#include <vector>

#include "pllava/pllava.hpp"

// Any type with this call operator is a pooling. This one averages over time:
// (T·H·W, D) -> (H·W, D).
struct MeanOverTime {
  template <pllava::Backend B>
  pllava::Tensor<B> operator()(B& be, pllava::ConstView x, const pllava::Grid& in) const {
    pllava::Tensor<B> y(be, {in.h * in.w, x.cols()}, x.dtype);
    pllava::ops::pool3d(be, y, x, in, {1, in.h, in.w}, pllava::PoolKind::average);
    return y;
  }
  // Optional. The projector may pool before its last linear layer, and a session may check its
  // room before the vision encoder runs.
  bool commutes_with_linear() const { return true; }
  pllava::Index output_tokens(const pllava::Grid& in) const { return in.h * in.w; }
};

int main() {
  using B = pllava::cpu::Backend;
  B be({.threads = 2});
  const auto config = pllava::ModelConfig::preset("tiny");
  const auto weights = pllava::RandomWeights::scope(1);
  pllava::PreprocessConfig preprocess;
  preprocess.image_size = config.vision.image_size;
  // Each component may be any type with the calls that pllava::Components documents.
  pllava::Components parts{
      pllava::VisionEncoder<B>(be, config.vision, weights["vision_tower"]),
      pllava::Projector<B>(be, config.projector, weights["multi_modal_projector"]), MeanOverTime{},
      pllava::LanguageModel<B>(be, config.text, weights["language_model"])};
  const pllava::Pipeline model(be.fork(), config, std::move(parts),
                               pllava::Tokenizer::bytes(config.image_token), preprocess);

  pllava::Clip clip;
  for (int t = 0; t < 16; ++t)
    clip.frames.push_back(pllava::Frame::own(
        std::vector<std::uint8_t>(64 * 64 * 3, static_cast<std::uint8_t>(t * 16)), 64, 64));
  std::cout << model.encode(clip).tokens() << " visual tokens\n";
  pllava::Session session = model.watch(clip);
  const auto answer = session.ask("What happens?", {.max_new_tokens = 8});
  std::cout << answer.output_ids.size() << " tokens of answer\n";
}
