// Leaving out visual tokens that repeat over time.
#include "pllava/runtime/detail/repeated_tokens.hpp"

#include <cmath>
#include <utility>
#include <vector>

#include "pllava/pllava.hpp"
#include "support/catch.hpp"
#include "support/tensors.hpp"
#include "support/tiny_model.hpp"

namespace {

using namespace pllava;
using Rows = std::vector<Index>;

TEST_CASE("Tokens that changed since the last kept one stay", "[tokens]") {
  // Three frames of two places, with rows of two values. Place 0 turns by 0.1 rad a frame, place 1
  // by 0 and then 1 rad.
  std::vector<float> rows;
  for (const double angle : {0.0, 0.0, 0.1, 0.0, 0.2, 1.0})
    rows.push_back(static_cast<float>(std::cos(angle))),
        rows.push_back(static_cast<float>(std::sin(angle)));
  const auto changed = [&](double threshold) {
    return detail::changed_tokens(rows, 3, 2, 2, threshold);
  };
  CHECK(changed(1e-9) == Rows{0, 1, 2, 4, 5});
  // 0.1 rad is below the threshold, but 0.2 rad since the last kept row is not.
  CHECK(changed(1 - std::cos(0.15)) == Rows{0, 1, 4, 5});
  CHECK(changed(1 - std::cos(0.5)) == Rows{0, 1, 5});
  CHECK(changed(2) == Rows{0, 1});
  for (const auto& [count, expected] :
       {std::pair<Index, Rows>{6, {0, 1, 2, 4, 5}}, {4, {0, 1, 4, 5}}, {3, {0, 1, 5}}, {1, {0, 1}}})
    CHECK(detail::most_changed_tokens(rows, 3, 2, 2, count) == expected);
  // Rows without a direction are kept: nothing says that they repeat.
  CHECK(detail::changed_tokens(std::vector<float>(8, 0.0f), 2, 2, 2, 1).size() == 4);
}

TEST_CASE("Rows at places keep their RoPE positions", "[tokens]") {
  const cpu::Backend host({.dtype = DType::f32, .threads = 2});
  cpu::Backend be = host.fork();
  const TextConfig config = ModelConfig::preset("tiny").text;
  const LanguageModel<cpu::Backend> model(be, config, RandomWeights::scope(5)["language_model"],
                                          7);  // several chunks
  const std::vector<std::int32_t> prefix = {1, 2, 3}, text = {4, 5};
  std::vector<std::int32_t> ids(20);
  for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<std::int32_t>(7 + i);
  const auto logits_after = [&](auto&& append_rows) {
    KvCache<cpu::Backend> kv = model.make_cache(be, 64);
    Tensor<cpu::Backend> logits(be, {1, config.vocab}, DType::f32);
    const auto append = [&](const std::vector<std::int32_t>& tokens) {
      Tensor<cpu::Backend> x = model.embed(be, tokens);
      model.forward(be, x, kv, logits);
    };
    append(prefix);
    append_rows(kv);
    append(text);
    return detail::to_floats(be, std::as_const(logits).view());
  };
  const auto some = [&](const Rows& places) {
    std::vector<std::int32_t> part;
    for (const Index place : places) part.push_back(ids[static_cast<std::size_t>(place)]);
    return model.embed(be, part);
  };
  const auto at = [&](const Rows& places) {
    return logits_after([&](KvCache<cpu::Backend>& kv) {
      Tensor<cpu::Backend> x = some(places);
      model.forward_at(be, x, places, 20, kv);
    });
  };
  Rows all(20);
  for (Index i = 0; i < 20; ++i) all[static_cast<std::size_t>(i)] = i;
  CHECK(at(all) == logits_after([&](KvCache<cpu::Backend>& kv) {
          Tensor<cpu::Backend> x = some(all);
          model.forward(be, x, kv, View{});
        }));
  // The same run by run, where the cache skips the positions between.
  const Rows places = {0, 1, 2, 9, 10, 17};
  const auto by_runs = logits_after([&](KvCache<cpu::Backend>& kv) {
    for (const auto& [run, skip] :
         {std::pair<Rows, Index>{{0, 1, 2}, 6}, {{9, 10}, 6}, {{17}, 2}}) {
      Tensor<cpu::Backend> x = some(run);
      model.forward(be, x, kv, View{});
      kv.skip_positions(skip);
    }
  });
  CHECK(test::distance(at(places), by_runs) < 1e-5);
  CHECK(test::distance(at({0, 1, 2, 3, 4, 5}), by_runs) > 1e-3);  // positions matter
  // A truncated cache is as before the rows.
  CHECK(logits_after([&](KvCache<cpu::Backend>& kv) {
          Tensor<cpu::Backend> x = some(places);
          model.forward_at(be, x, places, 20, kv);
          kv.truncate(be, 3);
          CHECK(kv.rope_offset() == 0);
        }) == logits_after([](KvCache<cpu::Backend>&) {}));

  KvCache<cpu::Backend> kv = model.make_cache(be, 64);
  Tensor<cpu::Backend> x = some({0, 1});
  for (const Rows& wrong : {Rows{0}, Rows{1, 1}, Rows{-1, 3}, Rows{3, 20}})
    CHECK_THROWS_AS(model.forward_at(be, x, wrong, 20, kv), ArgumentError);
  CHECK_THROWS_AS(model.forward_at(be, x, Rows{0, 1}, 1 << 20, kv), ContextError);
}

TEST_CASE("A session leaves out repeated tokens on request", "[tokens]") {
  const Pipeline model = test::tiny_model();
  const Clip clip = test::moving_clip(18);
  Clip first;
  first.frames.assign(clip.frames.begin(), clip.frames.begin() + 16);
  const auto logits_of = [](Session& session) {
    return session.ask("What?", {.max_new_tokens = 3, .first_logits = true}).first_logits;
  };
  Session all = model.watch(first), half = model.watch(first, {.keep_tokens = 0.5});
  const Index tokens = model.config().video_rows(), per_frame = tokens / 16;
  const Index prefix = all.report().prefix_tokens - tokens;
  CHECK(half.report().prefix_tokens <= prefix + tokens / 2);
  CHECK(half.report().prefix_tokens > prefix + per_frame);
  const std::vector<float> half_logits = logits_of(half);
  CHECK(logits_of(all) != half_logits);
  Session same = model.watch(first, {.keep_tokens = 1});
  CHECK(same.report().prefix_tokens == all.report().prefix_tokens);

  // A still scene is one frame; only the positions of the question differ from a clip of one frame.
  Clip still;
  still.frames.assign(16, clip.frames[0]);
  CHECK(model.watch(still, {.keep_tokens = 0.9}).report().prefix_tokens == prefix + per_frame);

  // A window slides exactly, also on request of rolling.
  SlidingWindow window = model.window();
  for (std::size_t t = 0; t < 16; ++t) window.push(clip.frames[t]);
  Session session = model.watch(window.video(), {.keep_tokens = 0.5});
  CHECK(logits_of(session) == half_logits);
  for (std::size_t t = 16; t < 18; ++t) {
    window.push(clip.frames[t]);
    const SlideReport report = session.slide_to(window.video(), {.rolling = true});
    CHECK(report.exact);
    Session expected = model.watch(window.video(), {.keep_tokens = 0.5});
    CHECK(logits_of(session) == logits_of(expected));
  }
  for (const double share : {0.0, -1.0, 1.5, std::nan("")})
    CHECK_THROWS_AS(model.watch(first, {.keep_tokens = share}), ArgumentError);
  const Pipeline pooled =
      test::tiny_model({.threads = 2}, [](ModelConfig& c) { c.pool.output.t = 4; });
  CHECK_THROWS_AS(pooled.watch(first, {.keep_tokens = 0.5}), ArgumentError);
}

}  // namespace
