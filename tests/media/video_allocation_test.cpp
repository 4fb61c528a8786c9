// Every allocation by operator new while a video is sampled fails once, alone and with all after
// it. Those of FFmpeg succeed: it crashes after some failures of its own.
#include <optional>

#include "pllava/media/video.hpp"
#include "support/catch.hpp"
#include "support/clip_writer.hpp"
#include "support/failing_calls.hpp"
#include "support/temp_directory.hpp"

namespace {

using namespace pllava;

TEST_CASE("A failed allocation while a video is sampled", "[video][failing_allocation]") {
  const test::TempDirectory dir;
  const std::string path = (dir / "clip.mp4").string();
  test::write_clip(path, {.frames = 12});
  std::optional<Clip> clip;
  test::with_failures(
      [&] {
        clip.reset();
        clip = Video::open(path).sample(4);
      },
      [&](bool succeeded, test::Failing) {
        REQUIRE(clip.has_value() == succeeded);
        if (!succeeded) return;
        REQUIRE(clip->frames.size() == 4);
        for (const Frame& frame : clip->frames)
          if (clip->warnings.empty()) CHECK(test::shown_index(frame) == frame.index);
      },
      200, test::Counted::operator_new);
}

}  // namespace
