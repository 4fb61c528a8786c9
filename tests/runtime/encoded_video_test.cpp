// A session over an EncodedVideo gives bit-identical output to a session over the clip it encodes.
#include "pllava/runtime/encoded_video.hpp"

#include <atomic>
#include <string>
#include <vector>

#include "pllava/pllava.hpp"
#include "support/catch.hpp"
#include "support/tiny_model.hpp"

namespace {

using namespace pllava;
using test::moving_clip;
using test::tiny_model;

/// Logits of the first token and the ids of a short answer.
struct Output {
  std::vector<float> logits;
  std::vector<std::int32_t> ids;
  bool operator==(const Output&) const = default;
};

Output generate_output(Session session) {
  Answer answer = session.ask("What happens?", {.max_new_tokens = 6, .first_logits = true});
  return {std::move(answer.first_logits), std::move(answer.output_ids)};
}

std::span<const Frame> frames(const Clip& clip, std::size_t begin, std::size_t count) {
  return std::span(clip.frames).subspan(begin, count);
}

TEST_CASE("A session over an encoded video is bit-identical to one over its clip",
          "[encoded_video]") {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    INFO(name_of(dtype));
    const Pipeline model = tiny_model({.dtype = dtype, .threads = 2});
    const Clip clip = moving_clip();
    const Output expected = generate_output(model.watch(clip));
    REQUIRE(expected.ids.size() == 6);

    const EncodedVideo video = model.encode(clip);
    CHECK(video.frames() == 16);
    CHECK(video.tokens() == model.config().pool.output.count());
    CHECK(video.tokens_per_frame() * 16 == video.tokens());
    CHECK((generate_output(model.watch(video)) == expected));
    CHECK((generate_output(model.watch(video)) == expected));  // prefill does not modify the tokens
  }
}

TEST_CASE("Frames encoded one by one are bit-identical to those of the clip", "[encoded_video]") {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    INFO(name_of(dtype));
    const Pipeline model = tiny_model({.dtype = dtype, .threads = 2});
    const Clip clip = moving_clip();
    const Output expected = generate_output(model.watch(clip));

    std::vector<EncodedVideo> parts;
    for (std::size_t t = 0; t < 16; ++t) parts.push_back(model.encode_frames(frames(clip, t, 1)));
    CHECK((generate_output(model.watch(EncodedVideo::concatenate(parts))) == expected));

    const std::vector<EncodedVideo> uneven = {model.encode_frames(frames(clip, 0, 5)),
                                              model.encode_frames(frames(clip, 5, 11))};
    CHECK((generate_output(model.watch(EncodedVideo::concatenate(uneven))) == expected));
  }
}

TEST_CASE("A sliding window is bit-identical to a clip of the same frames", "[encoded_video]") {
  const Pipeline model = tiny_model();
  const Clip longer = moving_clip(20);
  Clip moved;
  moved.frames.assign(longer.frames.begin() + 4, longer.frames.end());
  const Output expected = generate_output(model.watch(moved));

  const EncodedVideo first = model.encode_frames(frames(longer, 0, 16));
  const EncodedVideo added = model.encode_frames(frames(longer, 16, 4));
  const std::vector<EncodedVideo> window = {first.slice(4, 12), added};
  const EncodedVideo video = EncodedVideo::concatenate(window);
  CHECK(video.frames() == 16);
  CHECK((generate_output(model.watch(video)) == expected));
  // A slice that spans two pieces.
  const std::vector<EncodedVideo> halves = {video.slice(0, 3), video.slice(3, 13)};
  CHECK((generate_output(model.watch(EncodedVideo::concatenate(halves))) == expected));
  CHECK_FALSE((generate_output(model.watch(first)) == expected));
}

TEST_CASE("Invalid encoded videos, slices and concatenations throw", "[encoded_video]") {
  const Pipeline model = tiny_model(), other = tiny_model();
  const Clip clip = moving_clip();
  const EncodedVideo video = model.encode(clip), foreign = other.encode(clip);
  CHECK_THROWS_AS(model.watch(foreign), ArgumentError);
  CHECK_THROWS_AS(model.watch(EncodedVideo{}), ArgumentError);
  CHECK_THROWS_AS(EncodedVideo::concatenate(std::vector{video, foreign}), ArgumentError);
  CHECK_THROWS_AS(EncodedVideo::concatenate({}), ArgumentError);
  CHECK_THROWS_AS(video.slice(-1, 2), ArgumentError);
  CHECK_THROWS_AS(video.slice(0, 0), ArgumentError);
  CHECK_THROWS_AS(video.slice(15, 2), ArgumentError);
  CHECK_THROWS_AS(model.encode(Clip{}), MediaError);
  CHECK_THROWS_AS(model.encode_frames({}), MediaError);
  std::atomic<bool> cancel{true};
  RunControl cancelled;
  cancelled.cancel = &cancel;
  CHECK_THROWS_AS(model.encode(clip, cancelled), CancelledError);
  CHECK_THROWS_AS(model.encode_frames(frames(clip, 0, 1), cancelled), CancelledError);
}

TEST_CASE("A model with temporal pooling encodes whole clips but not single frames",
          "[encoded_video]") {
  const Pipeline model = tiny_model({.threads = 2}, [](ModelConfig& c) { c.pool.output.t = 4; });
  const Clip clip = moving_clip();
  const EncodedVideo video = model.encode(clip);
  CHECK(video.tokens_per_frame() == 0);
  CHECK((generate_output(model.watch(video)) == generate_output(model.watch(clip))));
  CHECK_THROWS_AS(video.slice(0, 1), ArgumentError);
  CHECK_THROWS_AS(model.encode_frames(frames(clip, 0, 1)), ArgumentError);
  CHECK_THROWS_AS(EncodedVideo::concatenate(std::vector{video, video}), ArgumentError);
}

}  // namespace
