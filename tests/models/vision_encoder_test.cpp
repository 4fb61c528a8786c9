// The vision tower's standing properties; its numbers are held against transformers elsewhere.
#include "pllava/models/vision_encoder.hpp"

#include <atomic>

#include "pllava/pllava.hpp"
#include "pllava/reference/backend.hpp"
#include "support/catch.hpp"
#include "support/tensors.hpp"

namespace {

using namespace pllava;
using B = cpu::Backend;

VisionConfig config() {
  return ModelConfig::preset("tiny").vision;
}

template <Backend Any>
VisionEncoder<Any> encoder(Any& be) {
  return VisionEncoder<Any>(be, config(), RandomWeights::scope(3)["vision_tower"]);
}

template <Backend Any>
Tensor<Any> frames(Any& be, Index T) {
  const Index S = config().image_size;
  return test::tensor(be, test::uniform(T * 3 * S * S, 2), {T, 3, S, S}, DType::f32);
}

TEST_CASE("A frame's features do not depend on other frames", "[vision_encoder]") {
  B be({.threads = 2});
  const auto encode = encoder(be);
  Tensor<B> pixels = frames(be, 5);
  const std::vector<float> together = detail::to_floats(be, encode(be, pixels));
  const Index P = config().patches(), D = config().width, S = config().image_size;
  REQUIRE(static_cast<Index>(together.size()) == 5 * P * D);
  for (Index t = 0; t < 5; ++t) {
    const View one{pixels.view().as<float>() + t * 3 * S * S, DType::f32, {1, 3, S, S}};
    const std::vector<float> alone = detail::to_floats(be, encode(be, one));
    CHECK(std::equal(alone.begin(), alone.end(), together.begin() + t * P * D));
  }
}

TEST_CASE("The features are the hidden state of the configured layer without its class token",
          "[vision_encoder]") {
  reference::Backend be;
  const auto encode = encoder(be);
  const auto pixels = frames(be, 1);
  const std::vector<float> features = detail::to_floats(be, encode(be, pixels));
  CHECK(config().used_layers() == config().layers - 1);
  const std::vector<float> state =
      detail::to_floats(be, encode.hidden_state(be, pixels, config().used_layers()));
  const auto D = static_cast<std::size_t>(config().width);
  REQUIRE(state.size() == features.size() + D);
  CHECK(std::equal(features.begin(), features.end(), state.begin() + static_cast<long>(D)));
}

TEST_CASE("Pixels of another size are refused with both shapes", "[vision_encoder]") {
  B be({.threads = 1});
  const auto encode = encoder(be);
  const Index S = config().image_size;
  for (const Shape& wrong : {Shape{1, 3, S, S + 1}, Shape{1, 1, S, S}, Shape{3, S, S}}) {
    Tensor<B> pixels(be, wrong, DType::f32);
    try {
      encode(be, pixels);
      FAIL("pixels " << wrong.str() << " were taken");
    } catch (const ShapeError& e) {
      CHECK(std::string(e.what()).find("got " + wrong.str()) != std::string::npos);
    }
  }
}

TEST_CASE("Encoding reports every frame and can be cancelled", "[vision_encoder]") {
  B be({.threads = 1});
  const auto encode = encoder(be);
  Tensor<B> pixels = frames(be, 5);
  Index last = 0;
  std::atomic<bool> cancel{false};
  const RunControl watch{&cancel, [&](std::string_view stage, Index done, Index total) {
                           CHECK(stage == "vision");
                           CHECK(total == 5);
                           CHECK(done > last);
                           last = done;
                         }};
  encode(be, pixels, watch);
  CHECK(last == 5);
  cancel = true;
  CHECK_THROWS_AS(encode(be, pixels, {&cancel, {}}), CancelledError);
}

}  // namespace
