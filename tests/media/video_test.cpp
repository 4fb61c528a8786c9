// Videos: exact frame indices for all containers, few decoded frames, and errors for damaged,
// hostile and empty sources.
#include "pllava/media/video.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <fstream>
#include <iterator>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include <sys/stat.h>

#include "support/byte_server.hpp"
#include "support/catch.hpp"
#include "support/clip_writer.hpp"
#include "support/forked_child.hpp"
#include "support/temp_directory.hpp"

using namespace pllava;
using Indices = std::vector<Index>;

namespace {

std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

template <class E = MediaError, class Call>
std::string error_of(Call&& call) {
  try {
    call();
  } catch (const E& e) {
    return e.what();
  }
  return "no error";
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

Indices numbers_of(const Clip& clip) {
  Indices numbers;
  for (const Frame& f : clip.frames) numbers.push_back(test::shown_index(f));
  return numbers;
}

Indices up_to(Index n) {
  Indices numbers;
  for (Index i = 0; i < n; ++i) numbers.push_back(i);
  return numbers;
}

std::vector<int> rgb_at(const Frame& f, Index x, Index y) {
  const std::uint8_t* p = f.data + y * f.stride + x * 3;
  return {p[0], p[1], p[2]};
}

bool same_pixels(const Frame& a, const Frame& b) {
  if (a.width != b.width || a.height != b.height) return false;
  for (Index y = 0; y < a.height; ++y)
    if (std::memcmp(a.data + y * a.stride, b.data + y * b.stride,
                    static_cast<std::size_t>(a.width * 3)) != 0)
      return false;
  return true;
}

/// A PPM image of one grey level.
std::string ppm(int width, int height, int grey) {
  return "P6\n" + std::to_string(width) + " " + std::to_string(height) + "\n255\n" +
         std::string(static_cast<std::size_t>(width * height * 3), static_cast<char>(grey));
}

struct Made {
  std::string file;
  test::ClipSpec spec;
};

/// Clips that differ in the order, keyframes and timestamps of their packets.
std::vector<Made> kinds_of_clip() {
  std::vector<Made> all{
      {"b_frames.mp4", {}},
      {"b_frames.mov", {}},
      {"b_frames.mkv", {}},
      {"no_presentation_times.avi", {}},
      {"no_b_frames.avi", {.b_frames = 0}},
      {"one_keyframe.mp4", {.gop = 250}},
      {"all_keyframes.mp4", {.gop = 1, .b_frames = 0}},
      {"open_groups.ts", {.codec = "mpeg2video"}},
      {"open_groups.mkv", {.codec = "mpeg2video"}},
      {"motion_jpeg.mov", {.codec = "mjpeg"}},
      {"motion_jpeg.mjpeg", {.codec = "mjpeg"}},
      {"no_times.m4v", {}},
      {"animation.gif", {.codec = "gif"}},
  };
  if (test::has_encoder("libx264"))
    for (const char* name : {"x264.mp4", "x264.mkv", "x264.ts", "x264.flv", "x264.avi"})
      all.push_back({name, {.codec = "libx264"}});
  return all;
}

}  // namespace

TEST_CASE("a video that was opened before fork is an error in the child", "[video]") {
  if (!test::can_fork_beside_threads()) return;
  const test::TempDirectory dir;
  test::write_clip(dir / "clip.mp4", {.frames = 12});
  std::optional<Video> video = Video::open((dir / "clip.mp4").string(), {.threads = 4});
  CHECK(test::shown_index(video->next().value()) == 0);
  CHECK(test::in_child([&] {
          const std::vector<Index> first{0};
          const std::vector<std::string> errors = {
              error_of([&] { video->next(); }), error_of([&] { video->sample(2); }),
              error_of([&] { video->frames_at(first); }), error_of([&] { video->rewind(); })};
          for (const std::string& error : errors)
            if (!contains(error, "before fork") || !contains(error, "clip.mp4")) return 1;
          Video again = Video::open((dir / "clip.mp4").string(), {.threads = 4});
          if (test::shown_index(again.next().value()) != 0) return 2;
          video.reset();
          return 0;
        }) == 0);
  CHECK(test::shown_index(video->next().value()) == 1);
}

TEST_CASE("Frame indices are exact in every kind of file, in any order", "[video]") {
  const test::TempDirectory dir;
  for (const Made& made : kinds_of_clip()) {
    CAPTURE(made.file);
    const auto path = dir / made.file;
    test::write_clip(path, made.spec);
    Video video = Video::open(path.string());
    CHECK(video.info().width == 96);
    CHECK(video.info().height == 64);
    REQUIRE(video.info().frame_count == 30);
    CHECK(video.info().fps == Approx(25.0));
    const Indices order{29, 0, 13, 14, 12, 12, 3, 28, 20, 19, 21, 9, 10, 11, 1};
    CHECK(numbers_of(video.frames_at(order)) == order);
    CHECK(numbers_of(video.frames_at(up_to(30))) == up_to(30));

    Indices seen;
    Indices indices;
    for (const Frame& f : video) {
      seen.push_back(test::shown_index(f));
      indices.push_back(f.index);
    }
    CHECK(seen == up_to(30));
    CHECK(indices == up_to(30));
    // Seeking works after the end.
    CHECK(numbers_of(video.frames_at(Indices{5})) == Indices{5});
  }
}

TEST_CASE("A clip holds the source, rate, indices and times of its frames", "[video]") {
  const test::TempDirectory dir;
  const auto path = dir / "clip.mp4";
  test::write_clip(path, {});
  Video video = Video::open(path.string());
  const Clip clip = video.sample(4);
  CHECK(clip.source == path.string());
  CHECK(clip.fps == Approx(25));
  CHECK(clip.total_frames == 30);
  CHECK(numbers_of(clip) == sample_indices(SamplingRule::eval, 30, 4));
  for (const Frame& f : clip.frames) {
    CHECK(f.index == test::shown_index(f));
    CHECK(f.time == Approx(static_cast<double>(f.index) / 25));
    CHECK(f.format == PixelFormat::rgb);
  }
  CHECK(numbers_of(video.sample(4, {.rule = SamplingRule::demo})) == demo_indices(30, 4));
  CHECK(numbers_of(video.sample(3, {.bounds = TimeRange{0.4, 0.8}})) ==
        sample_indices(SamplingRule::eval, 30, 3, 25, TimeRange{0.4, 0.8}));
  CHECK(video.info().codec == "mpeg4");
  CHECK(video.info().duration == Approx(1.2));
  CHECK(video.source() == path.string());
}

TEST_CASE("only the groups of pictures of the sampled frames are decoded", "[video]") {
  const test::TempDirectory dir;
  for (const char* name : {"clip.mp4", "clip.mkv"}) {
    CAPTURE(name);
    test::write_clip(dir / name, {.frames = 300, .gop = 12});
    Video video = Video::open((dir / name).string());
    CHECK(video.decoded_frames() == 0);
    CHECK(numbers_of(video.frames_at(Indices{30, 250})) == Indices{30, 250});
    CHECK(video.decoded_frames() >= 2);
    CHECK(video.decoded_frames() <= 30);
    const Index before = video.decoded_frames();
    CHECK(numbers_of(video.frames_at(Indices{252, 252, 252})) == Indices{252, 252, 252});
    CHECK(video.decoded_frames() - before <= 13);
  }
}

TEST_CASE("Files without presentation times are decoded from a keyframe where that is exact",
          "[video]") {
  const test::TempDirectory dir;
  std::vector<test::ClipSpec> specs{{.codec = "mjpeg", .frames = 60}};
  if (test::has_encoder("libx264"))
    specs.push_back({.codec = "libx264", .frames = 60, .gop = 10, .b_frames = 0});
  for (const test::ClipSpec& spec : specs) {
    CAPTURE(spec.codec);
    test::write_clip(dir / "clip.avi", spec);
    Video video = Video::open((dir / "clip.avi").string());
    const Index before = video.decoded_frames();
    CHECK(numbers_of(video.frames_at(Indices{55, 25})) == Indices{55, 25});
    CHECK(video.decoded_frames() - before <= 2 * 10);
    CHECK(video.info().fps == Approx(25));
  }
}

TEST_CASE("A damaged index gives frames, and the index of a cut file is not used", "[video]") {
  const test::TempDirectory dir;
  test::write_clip(dir / "clip.mp4", {.frames = 30});
  std::string bytes = read_file(dir / "clip.mp4");
  // Composition offsets: version and flags, number of runs, then (count, offset) of each run.
  // Exchange the offsets of the first two runs.
  const std::size_t table = bytes.find("ctts") + 4;
  REQUIRE(table > 4);
  for (int i = 0; i < 4; ++i)
    std::swap(bytes[table + 12 + static_cast<std::size_t>(i)],
              bytes[table + 20 + static_cast<std::size_t>(i)]);
  Video video = Video::open(dir.write("exchanged.mp4", bytes).string());
  const Clip clip = video.frames_at(up_to(video.info().frame_count));  // FFmpeg reads it too
  CHECK(clip.frames.size() >= 29);
  // Of a file that is cut, the index is not used.
  test::write_clip(dir / "whole.mp4", {.frames = 60});
  const std::string whole = read_file(dir / "whole.mp4");
  Video cut = Video::open(dir.write("cut.mp4", whole.substr(0, whole.size() * 3 / 4)).string());
  CHECK(cut.info().frame_count < 60);
}

TEST_CASE("Repeated indices share their pixels", "[video]") {
  const test::TempDirectory dir;
  test::write_clip(dir / "five.mp4", {.frames = 5});
  Video video = Video::open((dir / "five.mp4").string());
  const Clip clip = video.sample(16);
  CHECK(numbers_of(clip) == Indices{0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 2, 3, 3, 3, 4, 4});
  CHECK(clip.frames[0].data == clip.frames[2].data);
  CHECK(clip.frames[2].data != clip.frames[3].data);
  CHECK(video.decoded_frames() == 5);
}

TEST_CASE("Frames of a variable rate keep their times", "[video]") {
  const test::TempDirectory dir;
  const std::vector<std::int64_t> times{0, 40, 500, 510, 520, 900, 2000, 2040, 2080, 5000};
  test::write_clip(dir / "vfr.mkv", {.frames = 10, .gop = 4, .times_ms = times});
  Video video = Video::open((dir / "vfr.mkv").string());
  const Clip clip = video.frames_at(up_to(10));
  CHECK(numbers_of(clip) == up_to(10));
  for (std::size_t i = 0; i < 10; ++i)
    CHECK(clip.frames[i].time == Approx(static_cast<double>(times[i]) / 1000).margin(1e-9));
}

TEST_CASE("Times start at 0 for any first timestamp", "[video]") {
  const test::TempDirectory dir;
  const std::vector<std::int64_t> times{7000, 7040, 7080, 7120};
  test::write_clip(dir / "late.mkv", {.frames = 4, .times_ms = times});
  Video video = Video::open((dir / "late.mkv").string());
  CHECK(video.frames_at(Indices{3}).frames[0].time == Approx(0.12));
  Video again = Video::open((dir / "late.mkv").string(), {.fps = 100});
  Indices milliseconds;
  for (const Frame& f : again) milliseconds.push_back(std::lround(f.time * 1000));
  CHECK(milliseconds == Indices{0, 40, 80, 120});
}

TEST_CASE("Frames that an edit list hides are not counted", "[video]") {
  const test::TempDirectory dir;
  test::write_clip(dir / "cut.mp4", {.b_frames = 0, .first_time = -3});
  Video video = Video::open((dir / "cut.mp4").string());
  CHECK(video.info().frame_count == 27);
  Indices shown;
  for (Index i = 3; i < 30; ++i) shown.push_back(i);
  const Clip clip = video.frames_at(up_to(27));
  CHECK(numbers_of(clip) == shown);
  for (std::size_t i = 0; i < 27; ++i) {
    CHECK(clip.frames[i].index == static_cast<Index>(i));
    CHECK(clip.frames[i].time == Approx(static_cast<double>(i) / 25));
  }
  CHECK(numbers_of(video.frames_at(Indices{26, 0, 10})) == Indices{29, 3, 13});
  Indices seen;
  for (const Frame& f : video) seen.push_back(test::shown_index(f));
  CHECK(seen == shown);
}

TEST_CASE("Hidden frames can be numbered like in the reference's reader", "[video]") {
  const test::TempDirectory dir;
  test::write_clip(dir / "cut.mp4", {.b_frames = 0, .first_time = -1});
  Video video = Video::open((dir / "cut.mp4").string(), {.numbering = FrameNumbering::decord});
  CHECK(video.info().frame_count == 30);
  // Frame 0 is hidden. Its group, 0 to 9, moves up by one; the next starts at its keyframe.
  Indices expected{1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
  for (Index i = 10; i < 30; ++i) expected.push_back(i);
  const Clip clip = video.frames_at(up_to(30));
  CHECK(numbers_of(clip) == expected);
  CHECK(clip.frames[9].data == clip.frames[10].data);
  CHECK(clip.frames[10].index == 10);
  CHECK(numbers_of(video.frames_at(Indices{29, 10, 9, 0})) == Indices{29, 10, 10, 1});
}

TEST_CASE("Bounds are times of frames, also at a variable rate", "[video]") {
  const test::TempDirectory dir;
  std::vector<std::int64_t> times;  // 10 s with a frame each second, then 2 s with 25 a second
  for (int i = 0; i < 10; ++i) times.push_back(1000 * i);
  for (int i = 0; i < 50; ++i) times.push_back(10000 + 40 * i);
  test::write_clip(dir / "vfr.mkv", {.frames = 60, .times_ms = times});
  Video video = Video::open((dir / "vfr.mkv").string());
  for (const TimeRange range : {TimeRange{2, 6}, TimeRange{10.5, 11}, TimeRange{0, 3.5}}) {
    CAPTURE(range.start, range.end);
    for (const SamplingRule rule : {SamplingRule::eval, SamplingRule::time}) {
      const Clip clip = video.sample(8, {.rule = rule, .bounds = range});
      for (const Frame& f : clip.frames) {
        CHECK(f.time >= range.start);
        CHECK(f.time <= range.end);
        CHECK(f.time ==
              Approx(static_cast<double>(times[static_cast<std::size_t>(f.index)]) / 1000));
        CHECK(test::shown_index(f) == f.index);
      }
    }
  }
  // No frame begins between 2.2 and 2.8 s; frame 2 is on display.
  CHECK(numbers_of(video.sample(1, {.bounds = TimeRange{2.2, 2.8}})) == Indices{2});
  CHECK(contains(error_of<ArgumentError>([&] {
                   video.sample(4, {.bounds = TimeRange{30, 40}});
                 }),
                 "bounds 30 to 40 s are outside of the video"));
  // The reference's rule spaces frame numbers: of 12, two are in the first 10 of 12 s.
  const auto early = [](const Clip& clip) {
    return std::count_if(clip.frames.begin(), clip.frames.end(),
                         [](const Frame& f) { return f.time < 10; });
  };
  CHECK(early(video.sample(12)) == 2);
  CHECK(early(video.sample(12, {.rule = SamplingRule::time})) == 10);
  CHECK(numbers_of(video.sample(12)) == sample_indices(SamplingRule::eval, 60, 12));
}

TEST_CASE("Joined recordings keep file order and rising times", "[video]") {
  const test::TempDirectory dir;
  const auto part = [&](const char* name, std::int64_t start_ms, int frames) {
    std::vector<std::int64_t> times;
    for (int i = 0; i < frames; ++i) times.push_back(start_ms + 40 * i);
    test::write_clip(dir / name, {.frames = frames, .b_frames = 0, .times_ms = times});
    return read_file(dir / name);
  };
  const std::string first = part("a.ts", 0, 50);
  const std::string far = part("b.ts", 36'000'000, 50);
  const std::string overlapping = part("c.ts", 1000, 50);
  for (const std::string& joined : {first + first, first + far + first, first + overlapping}) {
    const auto path = dir.write("joined.ts", joined);
    Indices expected = up_to(50);
    const std::size_t parts = joined.size() / first.size();
    for (std::size_t k = 1; k < parts; ++k)
      for (Index i = 0; i < 50; ++i) expected.push_back(i);
    Video video = Video::open(path.string());
    const Index count = static_cast<Index>(expected.size());
    CHECK(video.info().frame_count == count);
    CHECK(video.info().duration == Approx(static_cast<double>(count) / 25).margin(0.1));
    const Clip clip = video.frames_at(up_to(count));
    CHECK(numbers_of(clip) == expected);
    for (std::size_t i = 0; i < clip.frames.size(); ++i)
      CHECK(clip.frames[i].time == Approx(static_cast<double>(i) / 25).margin(0.05));
    Index thinned = 0;
    for (const Frame& f : Video::open(path.string(), {.fps = 2})) {
      CHECK(f.time == Approx(0.5 * static_cast<double>(thinned)).margin(0.1));
      ++thinned;
    }
    CHECK(thinned == count / 25 * 2);
  }
}

TEST_CASE("A transport stream continues in the stream that replaces its PID", "[video]") {
  const test::TempDirectory dir;
  std::string joined;
  for (const int pid : {300, 400}) {
    test::write_clip(dir / "part.ts",
                     {.codec = "mpeg2video", .frames = 50, .b_frames = 0, .stream_id = pid});
    joined += read_file(dir / "part.ts");
  }
  Video video = Video::open(dir.write("joined.ts", joined).string());
  // FFmpeg returns the last frames of a stream when the next one begins, or at the end of the file.
  const Index first = video.info().frame_count - 50;
  CHECK(first >= 48);
  Indices expected = up_to(first);
  for (Index i = 0; i < 50; ++i) expected.push_back(i);
  CHECK(numbers_of(video.frames_at(up_to(first + 50))) == expected);
  CHECK(numbers_of(video.frames_at(Indices{first + 49, 3})) == Indices{49, 3});
  CHECK(video.info().warnings ==
        std::vector<std::string>{"the video changes from stream 300 to 400; frames at the change "
                                 "can be missing"});
  Indices iterated;
  for (const Frame& frame : video) iterated.push_back(test::shown_index(frame));
  CHECK(iterated == expected);
}

TEST_CASE("Pixels become square on request", "[video]") {
  const test::TempDirectory dir;
  const auto shape = [&](const std::string& name, int width, int height, int rotation,
                         bool square) {
    test::write_clip(dir / name,
                     {.frames = 3, .rotation = rotation, .pixel_aspect = {width, height}});
    Video video = Video::open((dir / name).string(), {.square_pixels = square});
    CHECK(video.info().pixel_aspect == Approx(static_cast<double>(width) / height));
    const Frame frame = video.frames_at(Indices{2}).frames[0];
    CHECK(video.info().width == frame.width);
    CHECK(video.info().height == frame.height);
    if (rotation == 0) CHECK(test::shown_index(frame) == 2);
    return std::pair(frame.width, frame.height);
  };
  CHECK(shape("wide.mov", 16, 11, 0, false) == std::pair<Index, Index>(96, 64));
  CHECK(shape("wide.mov", 16, 11, 0, true) == std::pair<Index, Index>(140, 64));
  CHECK(shape("tall.mov", 1, 2, 0, true) == std::pair<Index, Index>(48, 64));
  CHECK(shape("turned.mov", 2, 1, 90, true) == std::pair<Index, Index>(64, 192));
  test::write_clip(dir / "large.mov", {.frames = 1, .pixel_aspect = {4, 1}});
  CHECK(contains(error_of([&] {
                   Video::open((dir / "large.mov").string(),
                               {.max_pixels = 96 * 64, .square_pixels = true});
                 }),
                 "384x64"));
}

TEST_CASE("High dynamic range is mapped to sRGB", "[video]") {
  // Values by ITU-R BT.2100 and BT.2390: 10 cd/m² of PQ are below the knee, 203 cd/m² of HLG (75 %)
  // above it.
  struct Grey {
    const char* transfer;
    int luma, srgb;
  };
  const Grey greys[] = {{"smpte2084", 16, 0},       {"smpte2084", 82, 63},
                        {"smpte2084", 181, 255},    {"arib-std-b67", 16, 0},
                        {"arib-std-b67", 126, 137}, {"arib-std-b67", 180, 229},
                        {"arib-std-b67", 235, 255}};
  const test::TempDirectory dir;
  for (const Grey& grey : greys) {
    CAPTURE(grey.transfer, grey.luma);
    test::write_clip(dir / "hdr.mkv",
                     {.frames = 1, .transfer = grey.transfer, .color = {{grey.luma, 128, 128}}});
    const Frame frame = Video::open((dir / "hdr.mkv").string()).frames_at(Indices{0}).frames[0];
    for (const int channel : rgb_at(frame, 40, 30)) CHECK(std::abs(channel - grey.srgb) <= 4);
  }
}

TEST_CASE("The container's rotation is applied", "[video]") {
  const test::TempDirectory dir;
  test::write_clip(dir / "0.mov", {.frames = 12});
  Video upright = Video::open((dir / "0.mov").string());
  CHECK(upright.info().rotation == 0);
  const Frame stored = upright.frames_at(Indices{11}).frames[0];
  for (const int degrees : {90, 180, 270}) {
    CAPTURE(degrees);
    const auto path = dir / (std::to_string(degrees) + ".mov");
    test::write_clip(path, {.frames = 12, .rotation = degrees});
    Video video = Video::open(path.string());
    CHECK(video.info().rotation == degrees);
    const Frame f = video.frames_at(Indices{11}).frames[0];
    const bool turned = degrees != 180;
    REQUIRE(f.width == (turned ? 64 : 96));
    REQUIRE(f.height == (turned ? 96 : 64));
    CHECK(video.info().width == f.width);
    CHECK(video.info().height == f.height);
    CHECK(f.index == 11);
    bool equal = true;
    for (Index y = 0; y < 64; ++y)
      for (Index x = 0; x < 96; ++x) {
        // Clockwise rotation moves the stored top left corner to the top right.
        const Index u = degrees == 90 ? 63 - y : degrees == 180 ? 95 - x : y;
        const Index v = degrees == 90 ? x : degrees == 180 ? 63 - y : 95 - x;
        equal = equal && rgb_at(stored, x, y) == rgb_at(f, u, v);
      }
    CHECK(equal);
  }
}

TEST_CASE("Colors follow the file's matrix and range", "[video]") {
  const test::TempDirectory dir;
  const auto color = [&](const std::string& name, bool bt709, bool full) {
    test::write_clip(dir / name,
                     {.frames = 3, .bt709 = bt709, .full_range = full, .color = {{128, 64, 192}}});
    return rgb_at(Video::open((dir / name).string()).sample(1).frames[0], 48, 32);
  };
  // Y = 128, U = 64, V = 192 by hand: R = a(Y - o) + r(V - 128), ... rounded.
  const auto near = [](const std::vector<int>& got, const std::vector<int>& expected) {
    CAPTURE(got, expected);
    for (std::size_t c = 0; c < 3; ++c) CHECK(std::abs(got[c] - expected[c]) <= 3);
  };
  near(color("untagged.mkv", false, false), {233, 103, 1});
  near(color("bt709.mkv", true, false), {245, 110, 0});
  near(color("full.mkv", false, true), {218, 104, 15});
}

TEST_CASE("Pixels do not depend on the decoder's threads", "[video]") {
  const test::TempDirectory dir;
  test::write_clip(dir / "clip.mp4", {.frames = 40});
  const Indices indices{3, 17, 18, 39};
  const Clip one = Video::open((dir / "clip.mp4").string(), {.threads = 1}).frames_at(indices);
  const Clip four = Video::open((dir / "clip.mp4").string(), {.threads = 4}).frames_at(indices);
  for (std::size_t i = 0; i < indices.size(); ++i)
    CHECK(same_pixels(one.frames[i], four.frames[i]));
}

TEST_CASE("Iteration follows the requested rate", "[video]") {
  const test::TempDirectory dir;
  test::write_clip(dir / "clip.mp4", {.frames = 60});
  Video video = Video::open((dir / "clip.mp4").string(), {.fps = 5});
  CHECK(video.info().frame_count == 0);  // not indexed
  Indices seen;
  for (const Frame& f : video) seen.push_back(test::shown_index(f));
  CHECK(seen == Indices{0, 5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55});
  CHECK_FALSE(video.next());
  video.rewind();
  CHECK(test::shown_index(*video.next()) == 0);
  CHECK(test::shown_index(*video.next()) == 5);
  CHECK(numbers_of(video.sample(2)) == sample_indices(SamplingRule::eval, 60, 2));
  CHECK(video.info().frame_count == 60);
  CHECK(test::shown_index(*video.next()) == 0);  // sampling rewinds
  Video moved = std::move(video);
  CHECK(test::shown_index(*moved.next()) == 5);

  // A rate above the video's gives every frame; gaps are not filled.
  test::write_clip(dir / "gap.mkv", {.frames = 5, .times_ms = {0, 100, 1000, 1040, 1100}});
  Indices gap;
  for (const Frame& f : Video::open((dir / "gap.mkv").string(), {.fps = 10}))
    gap.push_back(test::shown_index(f));
  CHECK(gap == Indices{0, 1, 2, 4});
}

TEST_CASE("Truncated files give the frames that they contain", "[video]") {
  const test::TempDirectory dir;
  for (const char* name : {"whole.mp4", "whole.mkv", "whole.ts", "whole.avi"}) {
    CAPTURE(name);
    const bool ts = std::string(name) == "whole.ts";
    test::write_clip(dir / name, {.codec = ts ? "mpeg2video" : "mpeg4", .frames = 60});
    const std::string bytes = read_file(dir / name);
    for (const int percent : {90, 80, 61}) {
      CAPTURE(percent);
      const auto path =
          dir.write("cut_" + std::string(name),
                    bytes.substr(0, bytes.size() * static_cast<std::size_t>(percent) / 100));
      Video video = Video::open(path.string());
      const Clip clip = video.sample(16);
      REQUIRE(clip.frames.size() == 16);
      CHECK(clip.total_frames < 60);
      CHECK(clip.total_frames > 60 * percent / 100 - 25);
      CHECK(clip.total_frames == video.info().frame_count);
      Indices numbers = numbers_of(clip);
      numbers.pop_back();  // the last frame may be incomplete
      CHECK(std::is_sorted(numbers.begin(), numbers.end()));
      for (std::size_t i = 0; i < numbers.size(); ++i) CHECK(numbers[i] == clip.frames[i].index);
    }
  }
}

TEST_CASE("Frames that cannot be decoded are not counted", "[video]") {
  const test::TempDirectory dir;
  test::write_clip(dir / "clip.mov", {.codec = "mjpeg", .frames = 20});
  std::string bytes = read_file(dir / "clip.mov");
  // Every image begins with this marker; overwrite images 4 to 7.
  std::vector<std::size_t> starts;
  for (std::size_t at = bytes.find("\xff\xd8\xff"); at != std::string::npos;
       at = bytes.find("\xff\xd8\xff", at + 1))
    starts.push_back(at);
  REQUIRE(starts.size() == 20);
  std::fill(bytes.begin() + static_cast<std::ptrdiff_t>(starts[4]),
            bytes.begin() + static_cast<std::ptrdiff_t>(starts[8]), '\0');
  Video video = Video::open(dir.write("hole.mov", bytes).string());
  CHECK(video.info().frame_count == 20);  // packets
  CHECK(contains(error_of([&] {
                   Video::open((dir / "hole.mov").string()).frames_at(Indices{5, 19});
                 }),
                 "frame 19 cannot be decoded; 16 frames can"));
  const Clip clip = video.sample(16);
  CHECK(video.info().frame_count == 16);
  CHECK(clip.total_frames == 16);
  CHECK(clip.warnings == std::vector<std::string>{"4 of 20 frames cannot be decoded"});
  CHECK(numbers_of(clip) == [] {
    Indices numbers;
    for (const Index i : sample_indices(SamplingRule::eval, 16, 16))
      numbers.push_back(i < 4 ? i : i + 4);
    return numbers;
  }());
  CHECK(contains(error_of<ArgumentError>([&] { video.frames_at(Indices{16}); }), "0 to 15"));

  std::fill(bytes.begin() + static_cast<std::ptrdiff_t>(starts[0]),
            bytes.begin() + static_cast<std::ptrdiff_t>(starts[19] + 500), '\0');
  const auto nothing = dir.write("nothing.mov", bytes).string();
  const auto sample = [&] { Video::open(nothing).sample(4); };
  CHECK(contains(error_of(sample), "nothing.mov: none of its frames can be decoded"));
  CHECK(contains(error_of([&] { Video::open(nothing, {.fps = 1}).next(); }), "none of its frames"));
}

TEST_CASE("Random damage gives frames or a MediaError", "[video]") {
  const test::TempDirectory dir;
  for (const char* name : {"clip.mp4", "clip.mkv", "clip.avi", "clip.gif"}) {
    const bool gif = std::string(name) == "clip.gif";
    test::write_clip(dir / name, {.codec = gif ? "gif" : "mpeg4", .frames = 12});
    const std::string bytes = read_file(dir / name);
    std::uint32_t random = 12345;
    for (int round = 0; round < 25; ++round) {
      std::string damaged = bytes;
      for (int hit = 0; hit < 20; ++hit) {
        random = random * 1664525u + 1013904223u;
        damaged[(random >> 8) % damaged.size()] = static_cast<char>(random >> 3);
      }
      CAPTURE(name, round);
      std::size_t frames = 4;
      try {
        frames = Video::open(dir.write("damaged_" + std::string(name), damaged).string())
                     .sample(4)
                     .frames.size();
      } catch (const MediaError& e) {
        CHECK(contains(e.what(), "damaged_"));
      }
      CHECK(frames == 4);
    }
  }
}

TEST_CASE("Files that are not videos are refused with their name and the expected formats",
          "[video]") {
  const test::TempDirectory dir;
  const auto refused = [&](const std::filesystem::path& path) {
    const std::string text = error_of([&] { Video::open(path.string()); });
    CHECK(contains(text, path.filename().string()));
    return text;
  };
  const std::string expected = "expected a video, an image or a directory of images";
  CHECK(contains(refused(dir / "missing.mp4"), "no such file"));
  CHECK(contains(refused(dir / "missing.mp4"), expected));
  CHECK(contains(refused(dir.write("empty.mp4", "")), "is empty; " + expected));
  CHECK(contains(refused(dir.write("text.txt", "plain text\nof two lines\n")), expected));
  CHECK(contains(refused(dir.write("text.mp4", std::string(5000, 'x'))), expected));
  CHECK(contains(refused(dir.write("noise.mkv", std::string(5000, '\0'))), expected));
  std::filesystem::create_directory(dir / "nothing");
  CHECK(contains(refused(dir / "nothing"), "contains no images"));
  CHECK(contains(refused(dir / "nothing" / "%05d.jpg"), "contains no images"));
  CHECK(contains(refused(dir / "no_directory" / "%05d.jpg"), expected));

  std::string wav(
      "RIFF\x24\x10\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0"
      "\x10\0data\0\x10\0\0",
      44);
  wav += std::string(4096, '\x11');
  CHECK(contains(refused(dir.write("sound.wav", wav)), "contains no video"));

  test::write_clip(dir / "late.mp4", {.index_first = false});
  const std::string bytes = read_file(dir / "late.mp4");
  CHECK(contains(refused(dir.write("cut.mp4", bytes.substr(0, bytes.size() / 2))), expected));
}

TEST_CASE("A file cannot make the library open another file", "[video]") {
  const test::TempDirectory dir;
  test::write_clip(dir / "secret.ts", {.codec = "mpeg2video"});
  const std::string secret = (dir / "secret.ts").string();
  const std::string hls =
      "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:1.2,\n" + secret + "\n#EXT-X-ENDLIST\n";
  for (const char* name : {"list.m3u8", "list.mp4", "list.ts"})
    CHECK_THROWS_AS(Video::open(dir.write(name, hls).string()), MediaError);
  const std::string concat = "ffconcat version 1.0\nfile '" + secret + "'\n";
  CHECK_THROWS_AS(Video::open(dir.write("list.ffconcat", concat).string()), MediaError);
  CHECK_THROWS_AS(Video::open(dir.write("list.txt", concat).string()), MediaError);
  // FFmpeg's protocol prefixes are refused too: without "://" a source is a file name.
  CHECK(contains(error_of([&] { Video::open("concat:" + secret); }), "no such file"));
  CHECK_THROWS_AS(Video::open("subfile://" + secret), MediaError);
  CHECK_THROWS_AS(Video::open("concat://" + secret), MediaError);
  // File names with a colon work.
  std::filesystem::copy_file(dir / "secret.ts", dir / "file:a.ts");
  CHECK(Video::open((dir / "file:a.ts").string()).info().frame_count == 30);
  CHECK(Video::open("file://" + secret).info().frame_count == 30);
  std::filesystem::copy_file(dir / "secret.ts", dir / "a b.ts");
  CHECK(Video::open("file://" + (dir / "a%20b.ts").string()).info().frame_count == 30);
}

TEST_CASE("Unreachable addresses are refused with their name", "[video]") {
  CHECK(contains(error_of([] { Video::open("http://127.0.0.1:1/a.mp4", {.timeout = 5}); }),
                 "http://127.0.0.1:1/a.mp4: cannot be opened"));
  CHECK(contains(error_of([] { Video::open("nonsense://a"); }), "nonsense://a"));
}

TEST_CASE("Tiny and huge frames are read", "[video]") {
  const test::TempDirectory dir;
  test::write_clip(dir / "dot.gif", {.codec = "gif", .width = 1, .height = 1, .frames = 3});
  Video dot = Video::open((dir / "dot.gif").string());
  CHECK(dot.sample(3).frames[2].width == 1);
  test::write_clip(dir / "odd.avi", {.codec = "mjpeg", .width = 5, .height = 3, .frames = 3});
  CHECK(Video::open((dir / "odd.avi").string()).sample(3).frames[1].height == 3);

  test::write_clip(dir / "8k.mov", {.codec = "mjpeg", .width = 7680, .height = 4320, .frames = 1});
  Video large = Video::open((dir / "8k.mov").string());
  CHECK(large.info().width == 7680);
  const Clip clip = large.sample(16);
  CHECK(clip.frames.size() == 16);
  CHECK(clip.frames[15].height == 4320);
  CHECK(clip.frames[0].data == clip.frames[15].data);
  CHECK(contains(
      error_of([&] { Video::open((dir / "8k.mov").string(), {.max_pixels = 7680 * 4320 - 1}); }),
      "7680x4320"));
}

TEST_CASE("Image directories are sampled by the reference's rule", "[video]") {
  const test::TempDirectory dir;
  // Numeric order differs from text order: 1, 2, ... 10, 11.
  for (int i = 1; i <= 12; ++i) dir.write("frame" + std::to_string(i) + ".ppm", ppm(4, 2, i));
  dir.write("notes.txt", "not an image");
  dir.write(".hidden.ppm", "not an image");
  Video video = Video::open(dir.path().string());
  CHECK(video.info().warnings ==
        std::vector<std::string>{
            "1 file is not an image that can be read and is left out: notes.txt"});
  CHECK(video.info().frame_count == 12);
  CHECK(video.info().fps == 3.0);
  CHECK(video.info().codec == "images");
  CHECK(video.info().width == 4);
  const auto values = [](const Clip& clip) {
    Indices numbers;
    for (const Frame& f : clip.frames) numbers.push_back(f.data[0]);
    return numbers;
  };
  const Clip clip = video.sample(8);
  CHECK(values(clip) == image_numbers(12, 8));
  CHECK(clip.frames[0].index == image_numbers(12, 8)[0] - 1);
  CHECK(values(video.sample(4, {.bounds = TimeRange{1, 3}})) ==
        image_numbers(12, 4, TimeRange{1, 3}));
  Indices demo = demo_indices(12, 8);
  for (Index& i : demo) ++i;
  CHECK(values(video.sample(8, {.rule = SamplingRule::demo})) == demo);
  CHECK(values(video.frames_at(Indices{11, 0, 9, 1})) == Indices{12, 1, 10, 2});

  const std::string pattern = (dir / "frame%d.ppm").string();
  CHECK(values(Video::open(pattern).frames_at(Indices{8, 9, 10, 11})) == Indices{9, 10, 11, 12});

  Indices seen;
  for (const Frame& f : Video::open(dir.path().string(), {.fps = 1})) seen.push_back(f.data[0]);
  CHECK(seen == Indices{1, 4, 7, 10});

  dir.write("frame5.ppm", "P6\n");
  CHECK(contains(error_of([&] { video.frames_at(Indices{4}); }), "frame5.ppm"));
  CHECK(values(video.frames_at(Indices{3})) == Indices{4});  // the video stays usable
}

TEST_CASE("An image is a video of one frame", "[video]") {
  const test::TempDirectory dir;
  Video video = Video::open(dir.write("one.ppm", ppm(1, 1, 9)).string());
  CHECK(video.info().frame_count == 1);
  const Clip clip = video.sample(16);
  REQUIRE(clip.frames.size() == 16);
  CHECK(rgb_at(clip.frames[15], 0, 0) == std::vector<int>{9, 9, 9});
  CHECK(clip.frames[0].data == clip.frames[15].data);
  CHECK(video.next()->width == 1);
  CHECK_FALSE(video.next());
  CHECK(contains(error_of([&] { Video::open((dir / "one.ppm").string(), {.max_pixels = 1}); }),
                 "no error"));
  CHECK(contains(error_of([&] {
                   Video::open(dir.write("two.ppm", ppm(2, 1, 9)).string(), {.max_pixels = 1});
                 }),
                 "two.ppm"));
}

TEST_CASE("Pipes and bytes in memory are read like files", "[video]") {
  const test::TempDirectory dir;
  test::write_clip(dir / "clip.mp4", {.index_first = false});
  const std::string bytes = read_file(dir / "clip.mp4");
  const auto pipe = dir / "pipe";
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  std::thread writer([&] { std::ofstream(pipe, std::ios::binary) << bytes; });
  Video piped = Video::open(pipe.string());
  writer.join();
  CHECK(piped.info().frame_count == 30);
  CHECK(numbers_of(piped.frames_at(Indices{29, 3})) == Indices{29, 3});

  const auto memory = [](const std::string& text) {
    const auto all = std::as_bytes(std::span(text.data(), text.size()));
    return std::vector<std::byte>(all.begin(), all.end());
  };
  Video video = Video::open(memory(bytes), "camera 3");
  CHECK(video.source() == "camera 3");
  CHECK(numbers_of(video.sample(4)) == sample_indices(SamplingRule::eval, 30, 4));
  CHECK(rgb_at(Video::open(memory(ppm(2, 1, 9))).sample(1).frames[0], 1, 0) ==
        std::vector<int>{9, 9, 9});
  CHECK(contains(error_of([&] { Video::open(memory("no video"), "buffer"); }), "buffer: FFmpeg"));
  CHECK(contains(error_of([&] { Video::open(memory("")); }), "memory: is empty"));
}

TEST_CASE("The pages of a TIFF file are its frames", "[video]") {
  // Two directories of a grey image of 2 x 1 pixels, without compression.
  const auto number = [](std::uint32_t value, int bytes) {
    std::string text;
    for (int i = 0; i < bytes; ++i) text += static_cast<char>(value >> 8 * i);
    return text;
  };
  std::string tiff = "II" + number(42, 2) + number(8, 4);
  constexpr std::uint32_t kDirectoryBytes = 2 + 8 * 12 + 4;
  for (std::uint32_t page = 0; page < 2; ++page) {
    const auto next = page == 0 ? 8 + kDirectoryBytes : 0u;
    const std::uint32_t pixels = 8 + 2 * kDirectoryBytes + 2 * page;
    tiff += number(8, 2);
    const std::pair<std::uint32_t, std::uint32_t> tags[] = {
        {256, 2}, {257, 1}, {258, 8}, {259, 1}, {262, 1}, {273, pixels}, {278, 1}, {279, 2}};
    for (const auto& [tag, value] : tags)
      tiff += number(tag, 2) + number(4, 2) + number(1, 4) + number(value, 4);
    tiff += number(next, 4);
  }
  tiff += std::string("\x0a\x14\x1e\x28", 4);
  const test::TempDirectory dir;
  Video video = Video::open(dir.write("pages.tif", tiff).string());
  REQUIRE(video.info().frame_count == 2);
  const Clip clip = video.frames_at(Indices{1, 0});
  CHECK(rgb_at(clip.frames[0], 0, 0) == std::vector<int>{30, 30, 30});
  CHECK(rgb_at(clip.frames[0], 1, 0) == std::vector<int>{40, 40, 40});
  CHECK(rgb_at(clip.frames[1], 0, 0) == std::vector<int>{10, 10, 10});
}

TEST_CASE("An animated WebP gives the frames that Pillow gives", "[video]") {
  const auto path = std::filesystem::path(PLLAVA_TEST_DATA) / "webp" / "animation.webp";
  const std::string bytes = read_file(path),
                    expected = read_file(path.parent_path() / "animation.rgb");
  Video video = Video::open(path.string());
  const VideoInfo info = video.info();
  REQUIRE(info.frame_count == 5);
  CHECK(info.width == 40);
  CHECK(info.height == 24);
  CHECK(info.duration == Approx(0.54));  // 5 ms are shown for 100 ms, as browsers do
  const std::size_t size = 40 * 24 * 3;
  REQUIRE(expected.size() == 5 * size);
  const auto check = [&](const Frame& frame, std::size_t number, double time) {
    CHECK(frame.index == static_cast<Index>(number));
    CHECK(frame.time == Approx(time));
    CHECK(std::equal(frame.data, frame.data + size,
                     reinterpret_cast<const std::uint8_t*>(expected.data()) + number * size));
  };
  const double times[] = {0, 0.04, 0.12, 0.32, 0.42};
  const Clip clip = video.frames_at(Indices{4, 1, 2});
  check(clip.frames[0], 4, times[4]);
  check(clip.frames[1], 1, times[1]);
  check(clip.frames[2], 2, times[2]);
  std::size_t count = 0;
  for (const Frame& frame : video) check(frame, count, times[count]), ++count;
  CHECK(count == 5);
  // Cut anywhere, it gives fewer frames or an error.
  for (std::size_t end = 0; end < bytes.size(); end += 7) {
    try {
      Video cut = Video::open(
          std::vector<std::byte>(reinterpret_cast<const std::byte*>(bytes.data()),
                                 reinterpret_cast<const std::byte*>(bytes.data()) + end));
      CHECK(cut.info().frame_count < 5);
      cut.next();
    } catch (const MediaError&) {
    }
  }
  const test::TempDirectory dir;
  dir.write("a.webp", bytes);
  CHECK(contains(error_of([&] { Video::open(dir.path().string()); }), "open it by itself"));
}

TEST_CASE("Reading a file without an index is reported and can be cancelled", "[video]") {
  const test::TempDirectory dir;
  test::write_clip(dir / "clip.mkv",
                   {.codec = "rawvideo", .width = 240, .height = 160, .frames = 120});
  const Index size = static_cast<Index>(std::filesystem::file_size(dir / "clip.mkv") >> 20);
  REQUIRE(size >= 2);
  std::vector<Index> reported;
  CancelSource source;
  VideoOptions options;
  options.cancel = source.token();
  options.progress = [&](std::string_view stage, Index done, Index total) {
    CHECK(stage == "index");
    CHECK(total == size);
    reported.push_back(done);
  };
  CHECK(Video::open((dir / "clip.mkv").string(), options).info().frame_count == 120);
  CHECK(std::ranges::is_sorted(reported));
  REQUIRE_FALSE(reported.empty());
  CHECK(reported.back() == size);
  options.progress = [&](std::string_view, Index, Index) { source.cancel(); };
  CHECK_THROWS_AS(Video::open((dir / "clip.mkv").string(), options), CancelledError);
}

TEST_CASE("Waiting for a writer of a pipe can be cancelled", "[video]") {
  const test::TempDirectory dir;
  const auto pipe = dir / "pipe";
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  CancelSource source;
  std::thread canceller([&] { source.cancel(); });
  CHECK_THROWS_AS(Video::open(pipe.string(), {.cancel = source.token()}), CancelledError);
  canceller.join();
}

TEST_CASE("A source that cannot be read again gives its next seconds", "[video]") {
  const test::TempDirectory dir;
  test::write_clip(dir / "clip.ts", {.codec = "mpeg2video", .frames = 100, .b_frames = 0});
  const std::string bytes = read_file(dir / "clip.ts");
  const auto clip_of = [&](double seconds, Index n) {
    test::ByteServer server(bytes);
    return Video::open(server.url()).sample(n, {.live_seconds = seconds});
  };
  // Frames on display at 0.25, 0.75, 1.25 and 1.75 s.
  CHECK(numbers_of(clip_of(2, 4)) == Indices{6, 18, 31, 43});
  const Clip early = clip_of(8, 4);  // it ends after 4 s
  CHECK(numbers_of(early) == Indices{25, 75, 99, 99});
  CHECK(early.warnings ==
        std::vector<std::string>{"the stream ended early; 2 of 4 frames repeat its last frame"});
  test::ByteServer server(bytes);
  Video video = Video::open(server.url());
  CHECK(contains(error_of<ArgumentError>([&] {
                   video.sample(4, {.bounds = TimeRange{0, 1}});
                 }),
                 "can be read again"));
  CHECK(contains(error_of([&] { video.frames_at(Indices{0}); }), "iterate over its frames"));
  CHECK(test::shown_index(*video.next()) == 0);
  while (video.next()) {
  }
  CHECK(video.info().warnings ==
        std::vector<std::string>{"the sender ended the stream after 100 frames"});
}

TEST_CASE("Late frames of a live source are dropped and counted, on request none", "[video]") {
  const test::TempDirectory dir;
  test::write_clip(dir / "clip.ts",
                   {.codec = "mpeg2video", .frames = 200, .fps = 50, .b_frames = 0});
  const std::string bytes = read_file(dir / "clip.ts");
  for (const bool drop : {true, false}) {
    test::ByteServer server(bytes);
    Video video = Video::open(server.url(), {.drop_late_frames = drop});
    Indices numbers;
    while (const auto frame = video.next()) numbers.push_back(test::shown_index(*frame));
    CHECK(std::ranges::is_sorted(numbers));
    CHECK(numbers.back() == 199);
    CHECK(static_cast<Index>(numbers.size()) + video.info().late_frames == 200);
    if (!drop) CHECK(numbers.size() == 200);
    CHECK(video.decoded_frames() == 200);
  }
}

/// Threads of this process.
std::size_t thread_count() {
  const std::filesystem::directory_iterator tasks("/proc/self/task");
  return static_cast<std::size_t>(std::distance(begin(tasks), end(tasks)));
}

TEST_CASE("A live source that ends is opened again", "[video]") {
  const test::TempDirectory dir;
  test::write_clip(dir / "clip.ts", {.codec = "mpeg2video", .frames = 10, .b_frames = 0});
  constexpr Index kClients = 21;
  test::ByteServer server(read_file(dir / "clip.ts"), static_cast<int>(kClients));
  Video video = Video::open(
      server.url(),
      {.drop_late_frames = false,
       .reconnect = {.enabled = true, .first_delay = 0.001, .max_delay = 0.01, .attempts = 3}});
  double last_time = -1;
  std::size_t threads = 0;
  for (Index i = 0; i < 10 * kClients; ++i) {
    const auto frame = video.next();
    REQUIRE(frame);
    REQUIRE(test::shown_index(*frame) == i % 10);
    REQUIRE(frame->time > last_time);
    REQUIRE(frame->index == i);
    last_time = frame->time;
    if (i == 15) threads = thread_count();
    if (i == 10 * kClients - 15) CHECK(thread_count() == threads);
  }
  const SourceStats stats = video.stats();
  CHECK(stats.reconnects == kClients - 1);
  CHECK(stats.received == 10 * kClients);
  CHECK(stats.delivered == 10 * kClients);
  CHECK(stats.dropped == 0);
  CHECK(stats.age >= 0);
  // The sender is gone: the error of the last attempt.
  CHECK(contains(error_of([&] { video.next(); }), "cannot be opened"));
}

TEST_CASE("Waiting for a live source that is down has a deadline and can be cancelled", "[video]") {
  const test::TempDirectory dir;
  test::write_clip(dir / "clip.ts", {.codec = "mpeg2video", .frames = 10, .b_frames = 0});
  test::ByteServer server(read_file(dir / "clip.ts"), 1);
  CancelSource cancel;
  const VideoOptions options{
      .drop_late_frames = false,
      .reconnect = {.enabled = true, .first_delay = 0.001, .max_delay = 0.01},
      .cancel = cancel.token()};
  Video video = Video::open(server.url(), options);
  for (int i = 0; i < 10; ++i) CHECK(video.next());
  for (int i = 0; i < 2; ++i) {
    const auto soon = CancelToken::Clock::now() + std::chrono::milliseconds(20);
    CHECK_THROWS_AS(video.next(CancelToken().until(soon)), DeadlineError);
  }
  std::thread canceller([&] { cancel.cancel(); });
  CHECK_THROWS_AS(video.next(), CancelledError);
  CHECK_THROWS_AS(Video::open(server.url(), options), CancelledError);  // opening waits too
  canceller.join();
  CHECK_THROWS_AS(Video::open(server.url(), {.reconnect = {.first_delay = -1}}), ArgumentError);
  CHECK_THROWS_AS(Video::open(server.url(), {.reconnect = {.attempts = -2}}), ArgumentError);
}

TEST_CASE("A fault that stays is not retried", "[video]") {
  const test::TempDirectory dir;
  test::write_clip(dir / "clip.ts", {.codec = "mpeg2video", .frames = 10, .b_frames = 0});
  const auto error_at_opening = [](const std::string& source, VideoOptions options) {
    options.reconnect.enabled = true;
    return error_of([&] { Video::open(source, options); });
  };
  CHECK(contains(error_at_opening("nothing://127.0.0.1:1/a", {}), "cannot be opened"));
  test::ByteServer server(read_file(dir / "clip.ts"));
  CHECK(contains(error_at_opening(server.url(), {.stream = 3}), "has no video stream 3"));
}

TEST_CASE("Frames that the rate leaves out are not decoded if the codec allows it", "[video]") {
  const test::TempDirectory dir;
  test::write_clip(dir / "clip.mkv", {.codec = "mjpeg", .frames = 100});
  test::ByteServer server(read_file(dir / "clip.mkv"));
  Video video = Video::open(server.url(), {.fps = 5, .drop_late_frames = false});
  Indices shown, numbers;
  while (const auto frame = video.next()) {
    shown.push_back(test::shown_index(*frame));
    numbers.push_back(frame->index);
    CHECK(std::abs(frame->time - static_cast<double>(shown.back()) / 25) < 0.002);
  }
  Indices expected;
  for (Index i = 0; i < 100; i += 5) expected.push_back(i);
  CHECK(shown == expected);
  CHECK(numbers == expected);
  CHECK(video.decoded_frames() == 20);
  CHECK(video.stats().received == 100);
}

TEST_CASE("A file is followed while it is written", "[video]") {
  const test::TempDirectory dir;
  test::write_clip(dir / "clip.ts", {.codec = "mpeg2video", .frames = 100, .b_frames = 0});
  const std::string bytes = read_file(dir / "clip.ts");
  const auto path = dir / "growing.ts";
  std::ofstream file(path, std::ios::binary);
  const auto append = [&](std::size_t begin, std::size_t end) {
    file.write(bytes.data() + begin, static_cast<std::streamsize>(end - begin)).flush();
  };
  append(0, bytes.size() / 2);
  CHECK(contains(error_of([&] { Video::open((dir / "none.ts").string(), {.follow = true}); }),
                 "no such file"));
  Video video = Video::open(path.string(), {.drop_late_frames = false, .follow = true});
  Index shown = 0;
  for (; shown < 30; ++shown) CHECK(test::shown_index(*video.next()) == shown);
  append(bytes.size() / 2, bytes.size());
  for (; shown < 99; ++shown) CHECK(test::shown_index(*video.next()) == shown);
  CHECK_THROWS_AS(video.next(CancelToken().until(CancelToken::Clock::now())), DeadlineError);

  // A file that does not grow any more ends.
  Video whole =
      Video::open(path.string(), {.drop_late_frames = false, .timeout = 0.2, .follow = true});
  Index count = 0;
  while (whole.next()) ++count;
  CHECK(count == 100);
  CHECK(contains(whole.info().warnings.back(), "has not grown for 0.2 s"));
}

TEST_CASE("A pipe is followed until its writer closes it", "[video]") {
  const test::TempDirectory dir;
  test::write_clip(dir / "clip.ts", {.codec = "mpeg2video", .frames = 40, .b_frames = 0});
  const auto pipe = dir / "pipe";
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  std::thread writer([&] { std::ofstream(pipe, std::ios::binary) << read_file(dir / "clip.ts"); });
  Video video = Video::open(pipe.string(), {.drop_late_frames = false, .follow = true});
  Index count = 0;
  while (const auto frame = video.next()) CHECK(test::shown_index(*frame) == count++);
  CHECK(count == 40);
  writer.join();
  CancelSource cancel;
  cancel.cancel();
  CHECK_THROWS_AS(Video::open(pipe.string(), {.follow = true, .cancel = cancel.token()}),
                  CancelledError);
  CHECK(contains(error_of([&] { Video::open(pipe.string(), {.timeout = 0.05, .follow = true}); }),
                 "no data for 0.05 s"));
}

TEST_CASE("A live source can be destroyed while it is read", "[video]") {
  const test::TempDirectory dir;
  test::write_clip(dir / "clip.ts", {.codec = "mpeg2video", .frames = 100, .b_frames = 0});
  test::ByteServer server(read_file(dir / "clip.ts"));
  Video video = Video::open(server.url(), {.drop_late_frames = false});
  CHECK(test::shown_index(*video.next()) == 0);
  const Video moved = std::move(video);
  CHECK(moved.info().width == 96);
}

TEST_CASE("A playlist cannot name addresses of other hosts and ports", "[video]") {
  test::ByteServer server(
      "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\nhttp://127.0.0.1:1/status.ts?key=hidden\n"
      "#EXT-X-ENDLIST\n");
  const std::string error = error_of([&] { Video::open(server.url() + "/list.m3u8"); });
  CHECK(contains(error, "the playlist names http://127.0.0.1:1/status.ts?key=***"));
  CHECK(contains(error, "expected 127.0.0.1:"));
}

TEST_CASE("Secrets of an address are not in messages", "[video]") {
  CHECK(without_secrets("rtsp://user:pass@10.0.0.1:554/a?token=abc&b=2") ==
        "rtsp://***@10.0.0.1:554/a?token=***&b=***");
  CHECK(without_secrets("http://host/a@b.mp4") == "http://host/a@b.mp4");
  CHECK(without_secrets("a=b.mp4") == "a=b.mp4");
  const std::string error =
      error_of([] { Video::open("http://user:secret@127.0.0.1:1/a?key=hidden", {.timeout = 5}); });
  CHECK(contains(error, "http://***@127.0.0.1:1/a"));
  CHECK_FALSE(contains(error, "secret"));
  CHECK_FALSE(contains(error, "hidden"));
}

TEST_CASE("Files of other kinds are named", "[video]") {
  const test::TempDirectory dir;
  const auto error = [&](const std::string& name, const std::string& bytes) {
    return error_of([&] { Video::open(dir.write(name, bytes).string()); });
  };
  CHECK(contains(error("page.mp4", "\n<!DOCTYPE html><html>"), "HTML page"));
  CHECK(contains(error("lfs.mp4", "version https://git-lfs.github.com/spec/v1\n"), "Git LFS"));
  CHECK(contains(error("list.mp4", "#EXTM3U\nother.ts\n"), "playlist"));
  test::write_clip(dir / "late.mp4", {.index_first = false});
  const std::string bytes = read_file(dir / "late.mp4");
  CHECK(contains(error("cut.mp4", bytes.substr(0, bytes.size() / 2)), "was not finished"));
}

TEST_CASE("Sampling stops when its token is cancelled, and the video stays usable", "[video]") {
  const test::TempDirectory dir;
  test::write_clip(dir / "clip.mp4", {});
  Video video = Video::open((dir / "clip.mp4").string());
  CancelSource source;
  source.cancel();
  CHECK_THROWS_AS(video.sample(4, {.cancel = source.token()}), CancelledError);
  CHECK_THROWS_AS(video.frames_at(Indices{3}, source.token()), CancelledError);
  CHECK(numbers_of(video.frames_at(Indices{3})) == Indices{3});
}

TEST_CASE("A removed file is an error, and usable once it is restored", "[video]") {
  const test::TempDirectory dir;
  test::write_clip(dir / "clip.gif", {.codec = "gif"});
  Video video = Video::open((dir / "clip.gif").string());
  CHECK(numbers_of(video.frames_at(Indices{20})) == Indices{20});
  std::filesystem::rename(dir / "clip.gif", dir / "away.gif");
  for (int attempt = 0; attempt < 2; ++attempt) {  // seeking back reopens the file
    CHECK_THROWS_AS(video.frames_at(Indices{3}), MediaError);
    CHECK_THROWS_AS(video.next(), MediaError);
  }
  std::filesystem::rename(dir / "away.gif", dir / "clip.gif");
  CHECK(numbers_of(video.frames_at(Indices{3, 20})) == Indices{3, 20});
  CHECK(test::shown_index(*video.next()) == 0);
}

TEST_CASE("Invalid options and indices are refused", "[video]") {
  const test::TempDirectory dir;
  test::write_clip(dir / "clip.mp4", {});
  const std::string file = (dir / "clip.mp4").string();
  const double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK_THROWS_AS(Video::open(file, {.fps = -1}), ArgumentError);
  CHECK_THROWS_AS(Video::open(file, {.fps = nan}), ArgumentError);
  CHECK_THROWS_AS(Video::open(file, {.threads = 0}), ArgumentError);
  CHECK_THROWS_AS(Video::open(file, {.stream = -2}), ArgumentError);
  CHECK(contains(error_of<ArgumentError>([&] {
                   Video::open(file, {.input_options = {{"no_such", "1"}}});
                 }),
                 "no input option \"no_such\""));
  CHECK(contains(error_of([&] { Video::open(file, {.stream = 1}); }), "no video stream 1"));
  CHECK_THROWS_AS(Video::open(file, {.max_pixels = 0}), ArgumentError);
  CHECK_THROWS_AS(Video::open(file, {.timeout = nan}), ArgumentError);
  Video video = Video::open(file);
  CHECK(contains(error_of<ArgumentError>([&] { video.sample(0); }), "clip.mp4: cannot sample 0"));
  CHECK(contains(error_of<ArgumentError>([&] {
                   video.sample(4, {.bounds = TimeRange{5, 9}});
                 }),
                 "bounds 5 to 9 s"));
  CHECK(contains(error_of<ArgumentError>([&] { video.frames_at(Indices{30}); }),
                 "frame index 30 is out of range; expected 0 to 29"));
  CHECK(contains(error_of<ArgumentError>([&] { video.frames_at(Indices{-1}); }),
                 "frame index -1 is out of range"));
  CHECK(video.frames_at(Indices{}).frames.empty());
  CHECK(numbers_of(video.sample(2)) == sample_indices(SamplingRule::eval, 30, 2));
}
