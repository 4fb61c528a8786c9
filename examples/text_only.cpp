// A language model without a video, from a GGUF file or the directory of a text-only checkpoint:
// text_only MODEL QUESTION [SYSTEM_PROMPT]
#include <algorithm>
#include <iostream>

#include "pllava/models/text_architecture.hpp"
#include "pllava/pllava.hpp"

int main(int argc, char** argv) try {
  if (argc != 3 && argc != 4) {
    std::cerr << "usage: text_only MODEL QUESTION [SYSTEM_PROMPT]\n";
    return 2;
  }
  using B = pllava::cpu::Backend;
  const auto tokenizer = pllava::read_tokenizer(argv[1]);
  const auto checkpoint =
      pllava::Checkpoint::open(argv[1], {.architectures = pllava::text_architectures()});
  const auto& config = checkpoint.config();
  B be({.dtype = checkpoint.report().dtype()});
  const pllava::LanguageModel<B> model(be, config.text, checkpoint["language_model"]);

  // ChatML, if the model knows it; else the question is a text to continue.
  std::string prompt = argv[2];
  if (tokenizer.id_of("<|im_start|>")) {
    const auto turn = [](const std::string& role, const std::string& text) {
      return "<|im_start|>" + role + '\n' + text + "<|im_end|>\n";
    };
    prompt = (argc == 4 ? turn("system", argv[3]) : "") + turn("user", prompt) +
             "<|im_start|>assistant\n";
  }
  const auto ids = tokenizer.encode(prompt);
  constexpr pllava::Index kMaxNewTokens = 200;
  const pllava::Index capacity =
      std::min(static_cast<pllava::Index>(ids.size()) + kMaxNewTokens, config.text.context);
  auto cache = model.make_cache(be, capacity);
  pllava::Tensor<B> logits(be, {1, config.text.vocab}, pllava::DType::f32);
  pllava::Tensor<B> id(be, {1}, pllava::DType::i32);
  model.forward(be, model.embed(be, ids), cache, logits);

  pllava::Sampler sampler;  // greedy
  pllava::StreamDecoder text(tokenizer, {.continues = true});
  for (pllava::Index n = 0; n < kMaxNewTokens; ++n) {
    const std::int32_t token = pllava::ops::sample(be, id, logits, sampler);
    const auto& ends = config.eos_tokens;
    if (std::find(ends.begin(), ends.end(), token) != ends.end()) break;
    std::cout << text.push(token) << std::flush;
    if (cache.length() == capacity) break;
    model.step(be, id, cache, logits);
  }
  std::cout << text.flush() << '\n';
} catch (const pllava::Error& e) {
  std::cerr << "text_only: " << e.what() << '\n';
  return 1;
}
