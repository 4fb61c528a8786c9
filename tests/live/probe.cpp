// Reads a live source by commands, for tests/live/peers.py: what arrived, when, and how the source
// is. Writes the clips that the peers send, too.
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <optional>
#include <sstream>
#include <string>
#include <utility>

#include "pllava/media/video.hpp"
#include "support/clip_writer.hpp"

namespace {

constexpr const char* kUsage = R"(Usage:
  live_probe write FILE CODEC WIDTH HEIGHT FRAMES    a clip at 25 frames per second
  live_probe SOURCE [NAME=VALUE]...                  reads SOURCE by commands from stdin
Names: fps, timeout, follow, reconnect, keep (1: drop no late frames), any other is an input option.
Commands: "take N SECONDS" writes one line per frame, and stops after SECONDS; "stats"; end of input.
)";

double wall_seconds() {
  using Clock = std::chrono::system_clock;
  return std::chrono::duration<double>(Clock::now().time_since_epoch()).count();
}

/// Resident memory in KiB.
long resident_kib() {
  std::ifstream statm("/proc/self/statm");
  long all = 0, resident = 0;
  statm >> all >> resident;
  return resident * 4;
}

std::ptrdiff_t thread_count() {
  const std::filesystem::directory_iterator tasks("/proc/self/task");
  return std::distance(begin(tasks), end(tasks));
}

pllava::VideoOptions options_of(int argc, char** argv) {
  pllava::VideoOptions options;
  for (int i = 2; i < argc; ++i) {
    const std::string text = argv[i];
    const std::size_t equals = text.find('=');
    const std::string name = text.substr(0, equals), value = text.substr(equals + 1);
    if (name == "fps")
      options.fps = std::stod(value);
    else if (name == "timeout")
      options.timeout = std::stod(value);
    else if (name == "follow")
      options.follow = value == "1";
    else if (name == "reconnect")
      options.reconnect.enabled = value == "1";
    else if (name == "keep")
      options.drop_late_frames = value != "1";
    else
      options.input_options[name] = value;
  }
  options.reconnect.first_delay = 0.05;
  options.reconnect.max_delay = 0.5;
  return options;
}

void take(pllava::Video& video, long count, double seconds) {
  const auto end = pllava::CancelToken::Clock::now() +
                   std::chrono::milliseconds(static_cast<long>(seconds * 1000));
  std::string result = "taken";
  try {
    for (long i = 0; i < count; ++i) {
      const std::optional<pllava::Frame> frame = video.next(pllava::CancelToken().until(end));
      if (!frame) {
        result = "end";
        break;
      }
      std::cout << R"({"shown":)" << test::shown_index(*frame) << R"(,"time":)" << frame->time
                << R"(,"index":)" << frame->index << R"(,"width":)" << frame->width << R"(,"wall":)"
                << wall_seconds() << "}\n";
    }
  } catch (const pllava::DeadlineError&) {
    result = "deadline";
  } catch (const pllava::MediaError& e) {
    std::cerr << e.what() << '\n';
    result = "error";
  }
  std::cout << R"({"result":")" << result << "\"}" << std::endl;
}

void write_stats(const pllava::Video& video) {
  const pllava::SourceStats s = video.stats();
  std::cout << R"({"received":)" << s.received << R"(,"delivered":)" << s.delivered
            << R"(,"dropped":)" << s.dropped << R"(,"damaged":)" << s.damaged << R"(,"reconnects":)"
            << s.reconnects << R"(,"age":)" << s.age << R"(,"decoded":)" << video.decoded_frames()
            << R"(,"resident_kib":)" << resident_kib() << R"(,"threads":)" << thread_count() << "}"
            << std::endl;
}

}  // namespace

int main(int argc, char** argv) try {
  const std::string first = argc > 1 ? argv[1] : "--help";
  if (first == "--help" || (first == "write" && argc != 7)) {
    std::cout << kUsage;
    return first == "--help" ? 0 : 2;
  }
  if (first == "write") {
    test::write_clip(argv[2], {.codec = argv[3],
                               .width = std::atoi(argv[4]),
                               .height = std::atoi(argv[5]),
                               .frames = std::atoi(argv[6]),
                               .gop = 25,
                               .b_frames = 0});
    return 0;
  }
  std::cout.precision(15);
  pllava::Video video = pllava::Video::open(first, options_of(argc, argv));
  std::cout << R"({"opened":)" << wall_seconds() << "}" << std::endl;
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    std::string command;
    long count = 0;
    double seconds = 0;
    words >> command >> count >> seconds;
    if (command == "take") take(video, count, seconds);
    if (command == "stats") write_stats(video);
  }
  return 0;
} catch (const std::exception& e) {
  std::cerr << "live_probe: " << e.what() << '\n';
  return 1;
}
