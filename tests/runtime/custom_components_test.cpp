// Components of the user's in a Pipeline, one for each place.
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "pllava/pllava.hpp"
#include "support/catch.hpp"
#include "support/tiny_model.hpp"

namespace {

using namespace pllava;
using B = cpu::Backend;

/// A vision encoder that counts its frames.
struct CountingVision {
  VisionEncoder<B> inner;
  std::shared_ptr<Index> frames = std::make_shared<Index>(0);
  Tensor<B> operator()(B& be, ConstView pixels, const RunControl& control) const {
    *frames += pixels.shape[0];
    return inner(be, pixels, control);
  }
};

/// The mean of each frame: (T·H·W, D) -> (T, D). Without any of the optional members.
struct MeanOfFrame {
  template <Backend Any>
  Tensor<Any> operator()(Any& be, ConstView x, const Grid& in) const {
    Tensor<Any> y(be, {in.t, x.cols()}, x.dtype);
    ops::pool3d(be, y, x, in, {in.t, 1, 1}, PoolKind::average);
    return y;
  }
};

/// A language model that counts its steps.
struct CountingLanguage {
  LanguageModel<B> inner;
  std::shared_ptr<Index> steps = std::make_shared<Index>(0);
  KvCache<B> make_cache(B& be, Index capacity) const { return inner.make_cache(be, capacity); }
  Tensor<B> embed(B& be, std::span<const std::int32_t> ids) const { return inner.embed(be, ids); }
  void forward(B& be, View x, KvCache<B>& kv, View logits, const RunControl& control) const {
    inner.forward(be, x, kv, logits, control);
  }
  void step(B& be, ConstView id, KvCache<B>& kv, View logits) const {
    ++*steps;
    inner.step(be, id, kv, logits);
  }
};

struct Setup {
  Pipeline built_in = test::tiny_model({.threads = 2});
  ModelConfig config = built_in.config();
  WeightScope weights = RandomWeights::scope(7);  // as tiny_model
  B be{{.threads = 2}};

  VisionEncoder<B> vision() { return {be, config.vision, weights["vision_tower"]}; }
  Projector<B> projector() { return {be, config.projector, weights["multi_modal_projector"]}; }
  LanguageModel<B> language() { return {be, config.text, weights["language_model"]}; }
  template <class... Parts>
  Pipeline pipeline(Parts... parts) {
    return {be.fork(), config, Components{std::move(parts)...}, built_in.tokenizer(),
            built_in.preprocess_config()};
  }
};

std::vector<std::int32_t> ids(const Pipeline& model, const Clip& clip) {
  return model.watch(clip).ask("What happens?", {.max_new_tokens = 6}).output_ids;
}

TEST_CASE("A vision encoder and a language model of the user's run in a pipeline", "[components]") {
  Setup s;
  const CountingVision vision{s.vision()};
  const CountingLanguage language{s.language()};
  const Pipeline model = s.pipeline(vision, s.projector(), TemporalPool(s.config.pool), language);
  const Clip clip = test::moving_clip();
  CHECK(ids(model, clip) == ids(s.built_in, clip));
  CHECK(*vision.frames == 16);
  CHECK(*language.steps == 5);  // the last token is appended by the next question
}

TEST_CASE("A pooling of the user's takes the place of the built-in one", "[components]") {
  Setup s;
  const Pipeline model = s.pipeline(s.vision(), s.projector(), MeanOfFrame{}, s.language());
  const Clip clip = test::moving_clip();
  const EncodedVideo video = model.encode(clip);
  CHECK(video.tokens() == 16);
  CHECK(video.tokens_per_frame() == 0);  // it has no per_frame()
  CHECK_THROWS_AS(model.encode_frames(clip.frames), ArgumentError);
  CHECK(ids(model, clip) != ids(s.built_in, clip));

  // The built-in pooling to one token a frame computes the same before the last linear layer.
  const Pipeline same = test::tiny_model({.threads = 2}, [](ModelConfig& c) {
    c.pool.output = {16, 1, 1};
  });
  CHECK(ids(model, clip) == ids(same, clip));
  const Session custom = model.watch(clip), built_in = same.watch(clip);
  CHECK(custom.length() == built_in.length());
}

}  // namespace
