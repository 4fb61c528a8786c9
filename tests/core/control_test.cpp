#include "pllava/core/control.hpp"

#include <chrono>
#include <thread>

#include "pllava/pllava.hpp"
#include "support/catch.hpp"
#include "support/tiny_model.hpp"

namespace {

using namespace pllava;
using Clock = CancelToken::Clock;

CancelToken past() {
  return CancelToken().until(Clock::now() - std::chrono::hours(1));
}
CancelToken future() {
  return CancelToken().until(Clock::now() + std::chrono::hours(1));
}

TEST_CASE("A token is cancelled by its flag or at its deadline", "[control]") {
  CHECK_FALSE(CancelToken().cancelled());
  CHECK_FALSE(future().cancelled());
  CHECK(past().cancelled());
  CHECK(past().expired());
  CHECK(past().until(Clock::now() + std::chrono::hours(1)).expired());  // the earlier one counts
  CHECK_THROWS_AS(past().check("a test"), DeadlineError);
  CHECK_NOTHROW(future().check("a test"));

  CancelSource source;
  const CancelToken token = source.token().until(Clock::now() + std::chrono::hours(1));
  CHECK_FALSE(token.cancelled());
  source.cancel();
  CHECK(token.cancelled());
  CHECK_FALSE(token.expired());
  try {
    token.check("a test");
    FAIL("a cancelled token passed its check");
  } catch (const DeadlineError&) {
    FAIL("the deadline has not passed");
  } catch (const CancelledError& e) {
    CHECK(std::string(e.what()) == "cancelled during a test");
  }
}

TEST_CASE("A deadline ends every stage and leaves the session usable", "[control]") {
  const Pipeline model = test::tiny_model();
  const Clip clip = test::moving_clip();
  const RunControl late{past(), {}}, in_time{future(), {}};
  CHECK_THROWS_AS(model.encode(clip, late), DeadlineError);
  CHECK_THROWS_AS(model.encode_frames(clip.frames, late), DeadlineError);
  CHECK_THROWS_AS(model.watch(clip, {.control = late}), DeadlineError);
  Session session = model.watch(clip, {.control = in_time});
  CHECK_THROWS_AS(session.ask("What?", {.max_new_tokens = 2, .control = late}), DeadlineError);
  const Answer answer = session.ask("What?", {.max_new_tokens = 4, .control = in_time});
  CHECK(answer.output_ids.size() == 4);
  CHECK_THROWS_AS(Pipeline::random(ModelConfig::preset("tiny"), 0, {.threads = 1}, late),
                  DeadlineError);
}

TEST_CASE("A deadline that passes while tokens are generated ends the answer", "[control]") {
  const Pipeline model = test::tiny_model();
  Session session = model.watch(test::moving_clip());
  const Index before = session.length();
  // The callback lasts until the deadline has passed.
  GenerateOptions options{.max_new_tokens = 50};
  const auto deadline = Clock::now() + std::chrono::milliseconds(100);
  options.control.cancel = CancelToken().until(deadline);
  const auto wait = [&](std::string_view) {
    std::this_thread::sleep_until(deadline);
    return true;
  };
  CHECK_THROWS_AS(session.ask("What happens?", options, wait), DeadlineError);
  CHECK(session.length() == before);
}

}  // namespace
