// A pipeline of tiny random weights with a real tokenizer, and clips for it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <utility>
#include <vector>

#include "pllava/pipeline.hpp"

namespace test {

inline pllava::Pipeline tiny_model(const pllava::cpu::BackendOptions& options = {.threads = 2},
                                   const std::function<void(pllava::ModelConfig&)>& change = {}) {
  pllava::Tokenizer tokenizer = pllava::Tokenizer::from_file(
      std::filesystem::path(PLLAVA_TEST_DATA) / "tokenizer" / "tokenizer.json");
  pllava::ModelConfig config = pllava::ModelConfig::preset("tiny");
  config.image_token = *tokenizer.id_of(pllava::kVideoToken);
  config.text.vocab = std::max(config.text.vocab, tokenizer.size());
  config.text.context = 1024;
  config.eos_tokens.clear();  // answers of random weights end by length
  if (change) change(config);
  pllava::PreprocessConfig preprocess;
  preprocess.image_size = config.vision.image_size;
  return {pllava::cpu::Backend(options), config, pllava::RandomWeights::scope(7),
          std::move(tokenizer), preprocess};
}

/// A clip whose frames all differ.
inline pllava::Clip moving_clip(pllava::Index frames = 16) {
  pllava::Clip clip;
  for (pllava::Index t = 0; t < frames; ++t) {
    std::vector<std::uint8_t> pixels(60 * 80 * 3);
    for (std::size_t i = 0; i < pixels.size(); ++i)
      pixels[i] = static_cast<std::uint8_t>(i * 7 + static_cast<std::size_t>(t) * 31);
    clip.frames.push_back(pllava::Frame::own(std::move(pixels), 80, 60));
  }
  return clip;
}

}  // namespace test
