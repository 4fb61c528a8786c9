// watch: events of a sliding window, recordings and their replay.
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "cli/child.hpp"
#include "cli/fixture.hpp"
#include "support/catch.hpp"

namespace {

using namespace test;
using nlohmann::json;

/// Events without what differs from run to run.
std::vector<json> reproducible(std::vector<json> events) {
  for (json& event : events) event.erase("timings_ms"), event.erase("live");
  return events;
}

TEST_CASE("watch answers at equal intervals about the last frames", "[program]") {
  // 2 s at 20 frames per second.
  const auto events = succeed_json(on_tiny(
      {"watch", clip(), "--ask", "What?", "--every", "500ms", "--fps", "10", "--window", "6"}));
  REQUIRE(events.size() == 3);
  for (std::size_t i = 0; i < events.size(); ++i) {
    const json& e = events[i];
    CHECK(e["event"] == i + 1);
    CHECK(e["question"] == "What?");
    CHECK(e["end"].get<double>() == Approx(0.5 * static_cast<double>(i + 1)));
    const std::vector<double> times = e["frame_times"];
    CHECK(times.size() == 6);
    CHECK(times.front() == e["start"]);
    CHECK(times.back() - times.front() == Approx(0.5));
    CHECK(e["exact"] == true);
    CHECK(e["output_ids"].size() <= 6);
    CHECK(e["timings_ms"]["encode"].get<double>() > 0);
    CHECK(e["live"]["age_s"].get<double>() > 0);
  }
  CHECK(events[2]["frames"]["encoded"] == 16);
}

TEST_CASE("watch --rolling prefills only new frames", "[program]") {
  const auto events = succeed_json(
      on_tiny({"watch", clip(), "--every", "200ms", "--fps", "20", "--window", "16", "--rolling"}));
  REQUIRE(events.size() > 5);
  CHECK(events[1]["exact"] == true);  // a short window repeats frames
  const json& last = events.back();
  CHECK(last["exact"] == false);
  CHECK(last["prefilled_tokens"].get<int>() * 4 == events[0]["prefilled_tokens"].get<int>());
}

TEST_CASE("a recording of watch replays to the same events", "[program]") {
  const std::filesystem::path directory = workspace() / "recording";
  const std::vector<std::string> questions = {"--ask",   "What?", "--ask", "Where?",
                                              "--every", "300ms", "--fps", "10"};
  std::vector<std::string> live = {"watch", clip(), "--record", directory.string()};
  std::vector<std::string> replay = {"watch", directory.string()};
  live.insert(live.end(), questions.begin(), questions.end());
  replay.insert(replay.end(), questions.begin(), questions.end());
  const auto seen = succeed_json(on_tiny(live)), again = succeed_json(on_tiny(replay));
  CHECK(seen.size() == 12);
  CHECK(reproducible(seen) == reproducible(again));

  CHECK(run(on_tiny(live)).code == 1);  // an existing directory is not overwritten
  // A writer that was killed leaves half a line.
  std::ofstream(directory / "frames.jsonl", std::ios::app) << "{\"file\":\"fra";
  CHECK(reproducible(succeed_json(on_tiny(replay))) == reproducible(seen));
  std::ofstream(directory / "frames.jsonl", std::ios::app) << "\n";
  CHECK(contains(run(on_tiny(replay)).err, "line 21 is damaged"));
}

TEST_CASE("watch finds faults of its source and recording before it loads a model", "[program]") {
  const auto error_of = [](std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"--model", "missing-model"});
    return run(arguments).err;
  };
  CHECK(contains(error_of({"watch", "missing.mp4"}), "missing.mp4: no such file"));
  CHECK(contains(error_of({"watch", clip(), "--record", workspace().string()}), "exists already"));
  CHECK(contains(error_of({"watch", "nothing://a", "--reconnect"}), "cannot be opened"));
  CHECK(contains(error_of({"watch", clip()}), "missing-model"));
}

TEST_CASE("watch follows a file that is being written", "[program]") {
  const std::filesystem::path path = workspace() / "growing.mkv";
  std::filesystem::copy_file(clip(), path);
  const auto events = succeed_json(on_tiny(
      {"watch", path.string(), "--follow", "--every", "500ms", "--events", "2", "--fps", "10"}));
  REQUIRE(events.size() == 2);
  CHECK(events[1]["live"]["reconnects"] == 0);
}

TEST_CASE("watch ends after --events and asks at least once", "[program]") {
  CHECK(succeed_json(on_tiny({"watch", clip(), "--every", "100ms", "--events", "3"})).size() == 3);
  CHECK(succeed_json(on_tiny({"watch", clip(), "--every", "1m"})).size() == 1);
  const std::string text = succeed(on_tiny({"watch", clip(), "--every", "1s"}));
  CHECK(text.starts_with("1.0 s: "));
}

TEST_CASE("watch rejects invalid options", "[program]") {
  for (const std::string every : {"0s", "-1", "2x", "", "nan"}) {
    INFO(every);
    const auto result = run(on_tiny({"watch", clip(), "--every", every}));
    CHECK(result.code == 2);
    CHECK(contains(result.err, "--every"));
  }
  CHECK(run(on_tiny({"watch", clip(), "--refresh-every", "0"})).code == 2);
  CHECK(run(on_tiny({"watch", "/no/such/file"})).code == 1);
}

}  // namespace
