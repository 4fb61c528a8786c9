// A sliding window gives the answers of the clip of its frames; a rolling session approximates
// them.
#include "pllava/runtime/sliding_window.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <string>
#include <vector>

#include "pllava/pllava.hpp"
#include "support/catch.hpp"
#include "support/tiny_model.hpp"

namespace {

using namespace pllava;
using test::moving_clip;
using test::tiny_model;

struct Output {
  std::vector<float> logits;
  std::vector<std::int32_t> ids;
  bool operator==(const Output&) const = default;
};

Output output_of(Session& session) {
  Answer answer = session.ask("What happens?", {.max_new_tokens = 6, .first_logits = true});
  return {std::move(answer.first_logits), std::move(answer.output_ids)};
}

Clip part_of(const Clip& clip, std::size_t begin, std::size_t end) {
  Clip part;
  part.frames.assign(clip.frames.begin() + static_cast<std::ptrdiff_t>(begin),
                     clip.frames.begin() + static_cast<std::ptrdiff_t>(end));
  return part;
}

/// Mean over the vocabulary of |a - b|, relative to that of |b|.
double relative_difference(const std::vector<float>& a, const std::vector<float>& b) {
  double difference = 0, size = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    difference += std::fabs(double{a[i]} - b[i]), size += std::fabs(b[i]);
  return difference / size;
}

struct Format {
  std::string name;
  cpu::BackendOptions backend;
};

std::vector<Format> formats() {
  return {{"f32", {.dtype = DType::f32, .threads = 2}},
          {"bf16", {.dtype = DType::bf16, .threads = 2}},
          {"bf16 with int8 KV", {.dtype = DType::bf16, .threads = 2, .int8_kv = true}}};
}

TEST_CASE("A session over a sliding window is bit-identical to one over the clip", "[window]") {
  const Clip stream = moving_clip(21);
  for (const Format& format : formats()) {
    INFO(format.name);
    const Pipeline model = tiny_model(format.backend);
    SlidingWindow window = model.window();
    for (std::size_t t = 0; t < 10; ++t) window.push(stream.frames[t]);
    CHECK_FALSE(window.full());
    Session session = model.watch(window.video());
    {
      Session expected = model.watch(part_of(stream, 0, 10));
      CHECK((output_of(session) == output_of(expected)));
    }
    for (std::size_t t = 10; t < 21; ++t) {
      window.push(stream.frames[t]);
      if (t % 5 != 0) continue;
      const SlideReport report = session.slide_to(window.video());
      CHECK(report.exact);
      CHECK(report.prefilled_tokens == window.video().tokens());
      Session expected = model.watch(part_of(stream, t < 16 ? 0 : t - 15, t + 1));
      CHECK((output_of(session) == output_of(expected)));
    }
    CHECK(window.full());
    CHECK(window.counts().encoded == 21);
  }
}

TEST_CASE("Quantized weights slide bit-identically", "[window]") {
  const Clip stream = moving_clip(18);
  for (const WeightFormat weights : {WeightFormat::int8, WeightFormat::int4}) {
    INFO(name_of(weights));
    ModelConfig config = ModelConfig::preset("tiny");
    const cpu::BackendOptions options{.dtype = DType::bf16, .threads = 2};
    const Pipeline model = Pipeline::random(
        config, cpu::Backend(options),
        quantized(RandomWeights::scope(7), {{.format = WeightFormat::int8}, {.format = weights}}));
    SlidingWindow window = model.window();
    for (const Frame& frame : stream.frames) window.push(frame);
    Session slid = model.watch(part_of(stream, 0, 16));
    slid.slide_to(window.video());
    Session expected = model.watch(part_of(stream, 2, 18));
    CHECK((output_of(slid) == output_of(expected)));
  }
}

TEST_CASE("A repeated frame is not encoded again", "[window]") {
  const Pipeline model = tiny_model();
  const Clip clip = moving_clip(2);
  std::vector<std::uint8_t> buffer(clip.frames[0].data, clip.frames[0].data + 60 * 80 * 3);
  SlidingWindow window = model.window();
  window.push(Frame::borrow(buffer.data(), 80, 60));
  window.push(Frame::borrow(buffer.data(), 80, 60));
  CHECK(window.counts().repeated == 1);
  std::copy_n(clip.frames[1].data, buffer.size(), buffer.data());  // the camera reuses its buffer
  window.push(Frame::borrow(buffer.data(), 80, 60));
  CHECK(window.counts().encoded == 2);
  Clip same;
  same.frames = {clip.frames[0], clip.frames[0], clip.frames[1]};
  Session session = model.watch(window.video()), expected = model.watch(same);
  CHECK((output_of(session) == output_of(expected)));
}

TEST_CASE("A still scene takes over the tokens of its first frame", "[window]") {
  const Pipeline model = tiny_model();
  const auto scene = [](int brightness, int square) {
    std::vector<std::uint8_t> pixels(96 * 96 * 3, static_cast<std::uint8_t>(brightness));
    for (int y = 0; y < 4; ++y)
      for (int i = 0; i < 12; ++i)
        pixels[static_cast<std::size_t>((40 + y) * 96 * 3 + 120 + i)] =
            static_cast<std::uint8_t>(square);
    return Frame::own(std::move(pixels), 96, 96);
  };
  SlidingWindow window = model.window({.still_below = 4});
  window.push(scene(100, 100));
  window.push(scene(102, 102));  // noise
  window.push(scene(100, 160));  // a small object
  CHECK(window.counts().still == 1);
  CHECK(window.counts().encoded == 2);
  // A slow drift is compared with the frame that was encoded, so it is found in the end.
  for (int i = 0; i < 8; ++i) window.push(scene(101 + i, 160));
  CHECK(window.counts().encoded == 4);
}

TEST_CASE("A rolling session prefills only new frames", "[window]") {
  const Clip stream = moving_clip(40);
  for (const Format& format : formats()) {
    INFO(format.name);
    const Pipeline model = tiny_model(format.backend);
    SlidingWindow window = model.window();
    for (std::size_t t = 0; t < 16; ++t) window.push(stream.frames[t]);
    Session session = model.watch(window.video());
    const SlideOptions rolling{.rolling = true, .refresh_every = 8};
    const Index per_frame = window.video().tokens_per_frame();
    double largest = 0;
    for (std::size_t t = 16; t < 40; ++t) {
      window.push(stream.frames[t]);
      const SlideReport report = session.slide_to(window.video(), rolling);
      Session exact = model.watch(window.video());
      CHECK(session.length() == exact.length());
      const Output rolled = output_of(session), expected = output_of(exact);
      if ((t - 16) % 8 == 0) {
        CHECK(report.exact);
        CHECK((rolled == expected));
      } else {
        CHECK_FALSE(report.exact);
        CHECK(report.prefilled_tokens == per_frame);
        CHECK(report.removed_tokens == per_frame);
        largest = std::max(largest, relative_difference(rolled.logits, expected.logits));
      }
    }
    CHECK(largest > 0);
    CHECK(largest < 0.5);
    // Nothing new costs nothing, in either mode; a rolled session becomes exact on request.
    CHECK(session.slide_to(window.video(), rolling).prefilled_tokens == 0);
    CHECK(session.slide_to(window.video()).exact);
    Session exact = model.watch(window.video());
    CHECK((output_of(session) == output_of(exact)));
    CHECK(session.slide_to(window.video()).prefilled_tokens == 0);
  }
}

TEST_CASE("Rolling a window of one layer equals the exact window", "[window]") {
  // In a model of one layer, keys and values depend on their own row only. What rolling changes is
  // then nothing but positions, which RoPE sees relative to each other.
  const Clip stream = moving_clip(24);
  for (const Format& format : formats()) {
    INFO(format.name);
    const Pipeline model =
        tiny_model(format.backend, [](ModelConfig& config) { config.text.layers = 1; });
    SlidingWindow window = model.window();
    for (std::size_t t = 0; t < 16; ++t) window.push(stream.frames[t]);
    Session session = model.watch(window.video());
    for (std::size_t t = 16; t < 24; ++t) {
      window.push(stream.frames[t]);
      session.slide_to(window.video(), {.rolling = true});
      Session exact = model.watch(window.video());
      const Output rolled = output_of(session), expected = output_of(exact);
      CHECK(relative_difference(rolled.logits, expected.logits) <
            (format.name == "f32" ? 1e-4 : 0.03));
    }
  }
}

TEST_CASE("Rolling starts again before RoPE runs out of positions", "[window]") {
  const Clip stream = moving_clip(40);
  const Pipeline model = tiny_model({.threads = 2}, [](ModelConfig& c) { c.text.context = 200; });
  SlidingWindow window = model.window();
  for (std::size_t t = 0; t < 16; ++t) window.push(stream.frames[t]);
  Session session = model.watch(window.video());
  Index exact = 0;
  for (std::size_t t = 16; t < 240; ++t) {
    window.push(stream.frames[t % 40]);
    exact += session.slide_to(window.video(), {.rolling = true, .refresh_every = 1000}).exact;
    CHECK(session.ask("What?", {.max_new_tokens = 2}).output_ids.size() == 2);
  }
  CHECK(exact > 1);
  CHECK(exact < 40);
}

TEST_CASE("Invalid slides leave the session usable", "[window]") {
  const Pipeline model = tiny_model(), other = tiny_model();
  const Clip stream = moving_clip(20);
  SlidingWindow window = model.window();
  CHECK_THROWS_AS(window.video(), ArgumentError);
  for (std::size_t t = 0; t < 16; ++t) window.push(stream.frames[t]);
  Session session = model.watch(window.video());
  const Output before = output_of(session);
  const Session::Mark mark = session.mark();
  CHECK_THROWS_AS(session.slide_to(other.encode(stream)), ArgumentError);
  CHECK_THROWS_AS(session.slide_to(window.video(), {.refresh_every = 0}), ArgumentError);
  session.rewind(mark);
  session.slide_to(window.video());
  CHECK((output_of(session) == before));  // the question before was forgotten
  CHECK_THROWS_AS(session.rewind(mark), ArgumentError);

  std::atomic<bool> cancel{true};
  RunControl cancelled;
  cancelled.cancel = &cancel;
  CHECK_THROWS_AS(window.push(stream.frames[16], cancelled), CancelledError);
  CHECK(window.times().size() == 16);
  window.push(stream.frames[16]);
  for (const bool rolling : {false, true}) {
    CHECK_THROWS_AS(session.slide_to(window.video(), {.rolling = rolling, .control = cancelled}),
                    CancelledError);
    CHECK_THROWS_AS(session.ask("What?"), ArgumentError);
    session.slide_to(window.video(), {.rolling = rolling});
    Session expected = model.watch(window.video());
    CHECK((output_of(session) == output_of(expected)));
    window.push(stream.frames[17]);
  }
  CHECK_THROWS_AS(model.window({.frames = -1}), ArgumentError);
  CHECK_THROWS_AS(model.window({.still_below = -1}), ArgumentError);
  const Pipeline pooled = tiny_model({.threads = 2}, [](ModelConfig& c) { c.pool.output.t = 4; });
  CHECK_THROWS_AS(pooled.window(), ArgumentError);
}

}  // namespace
