// Pipeline and Session written out with their components: components MODEL_DIRECTORY VIDEO
#include <iostream>

#include "pllava/media/video.hpp"
#include "pllava/pllava.hpp"

int main(int argc, char** argv) try {
  if (argc != 3) return std::cerr << "usage: components MODEL_DIRECTORY VIDEO\n", 2;
  using B = pllava::cpu::Backend;
  const auto checkpoint = pllava::Checkpoint::open(argv[1], {.lora_alpha = 4});
  B be({.dtype = checkpoint.report().dtype()});
  const auto& c = checkpoint.config();
  const pllava::VisionEncoder<B> vision(be, c.vision, checkpoint["vision_tower"]);
  const pllava::Projector<B> project(be, c.projector, checkpoint["multi_modal_projector"]);
  const pllava::TemporalPool pool(c.pool);
  const pllava::LanguageModel<B> llm(be, c.text, checkpoint["language_model"]);
  const auto tokenizer = pllava::Tokenizer::from_directory(argv[1]);
  const auto clip = pllava::Video::open(argv[2]).sample(c.frames);
  const pllava::Index S = c.vision.image_size, side = c.vision.grid_side();
  pllava::Tensor<B> pixels(be, {c.frames, 3, S, S}, pllava::DType::f32);
  pllava::ops::preprocess(be, pixels, clip.frames,
                          pllava::PreprocessConfig::from_directory(argv[1]));
  const auto features = vision(be, pixels);                          // (T·P, D)
  auto video = project(be, features, pool, {c.frames, side, side});  // (t·h·w, D)

  pllava::Dialogue dialogue(pllava::conversation_template("plain"));
  auto before = tokenizer.encode(dialogue.prefix());
  before.pop_back();  // <image>: replaced by the video embeddings
  const auto question = dialogue.ask("Describe the video in details.");
  const auto after =
      tokenizer.encode(question.text, {.bos = false, .continues = true, .plain = question.plain});
  auto cache = llm.make_cache(be, c.text.context);
  pllava::Tensor<B> logits(be, {1, c.text.vocab}, pllava::DType::f32);
  pllava::Tensor<B> id(be, {1}, pllava::DType::i32);
  llm.forward(be, llm.embed(be, before), cache, {});
  llm.forward(be, video, cache, {});
  llm.forward(be, llm.embed(be, after), cache, logits);
  pllava::Sampler sampler;
  pllava::StreamDecoder text(tokenizer, {.continues = true});
  for (int n = 0; n < 200; ++n) {
    const std::int32_t token = pllava::ops::sample(be, id, logits, sampler);
    if (token == c.eos_tokens[0]) break;
    std::cout << text.push(token);
    llm.step(be, id, cache, logits);
  }
  std::cout << text.flush() << '\n';
} catch (const pllava::Error& e) {
  std::cerr << "components: " << e.what() << '\n';
  return 1;
}
