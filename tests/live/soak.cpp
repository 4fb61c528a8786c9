// Live video for many steps, for the sanitizers: a queue with two producers and a stream that ends
// and is opened again feed a window, over which an exact and a rolling session answer on threads of
// their own. Not a test of ctest: it runs as long as it is told to.
#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "pllava/media/frame_queue.hpp"
#include "pllava/media/video.hpp"
#include "pllava/pllava.hpp"
#include "support/byte_server.hpp"
#include "support/clip_writer.hpp"
#include "support/temp_directory.hpp"
#include "support/tiny_model.hpp"

namespace {

using namespace pllava;

constexpr const char* kUsage = R"(Usage: live_soak STEPS
One step is a frame, of one of the sources, that enters the window. Prints the counts; exit code 1 if
a call throws something that it should not, or if memory grows by more than 5 % and 8 MiB after the
first fifth of the steps.
)";
constexpr int kFramesPerConnection = 10;

long resident_kib() {
  std::ifstream statm("/proc/self/statm");
  long all = 0, resident = 0;
  statm >> all >> resident;
  return resident * 4;
}

/// The newest tokens of the window, for threads that ask.
class Shared {
 public:
  void publish(EncodedVideo video) {
    const std::lock_guard lock(mutex_);
    video_ = std::move(video);
    ++version_;
    changed_.notify_all();
  }
  void close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    changed_.notify_all();
  }
  /// Waits for tokens newer than `version`, which is set to theirs; nullopt after `close`.
  std::optional<EncodedVideo> newer_than(long& version) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return version_ > version || closed_; });
    if (closed_) return std::nullopt;
    version = version_;
    return video_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<EncodedVideo> video_;
  long version_ = 0;
  bool closed_ = false;
};

/// Slides and asks until the end. Every seventh question has a deadline that is over.
void ask(const Pipeline& model, Shared& shared, bool rolling, std::atomic<long>& answers) {
  long version = 0;
  std::optional<Session> session;
  while (const std::optional<EncodedVideo> video = shared.newer_than(version)) {
    const bool expires = version % 7 == 0;
    SlideOptions slide{.rolling = rolling, .refresh_every = 16};
    GenerateOptions generate{.max_new_tokens = 2};
    if (expires) generate.control.cancel = CancelToken().until(CancelToken::Clock::now());
    try {
      if (!session)
        session = model.watch(*video);
      else
        session->slide_to(*video, slide);
      session->ask("What?", generate);
      ++answers;
    } catch (const DeadlineError&) {
      if (!expires) throw;
    }
  }
}

void push_images(FrameQueue& queue, std::uint8_t shade, const CancelToken& stop) {
  std::vector<std::uint8_t> pixels(48 * 32 * 3, shade);
  for (std::size_t i = 0;; ++i) {
    pixels[i % pixels.size()] ^= 255;
    RawImage image;
    image.width = 48, image.height = 32;
    image.pixels = {pixels.data(), 48 * 3};
    try {
      queue.push(image, stop);
    } catch (const CancelledError&) {
      return;
    }
  }
}

int soak(long steps) {
  const test::TempDirectory directory;
  test::write_clip(directory / "clip.ts",
                   {.codec = "mpeg2video", .frames = kFramesPerConnection, .b_frames = 0});
  std::ifstream file(directory / "clip.ts", std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  test::ByteServer server(bytes, static_cast<int>(steps / kFramesPerConnection) + 2);
  Video stream = Video::open(
      server.url(),
      {.threads = 1,  // those of FFmpeg cannot be checked: it is built without sanitizer
       .drop_late_frames = false,
       .reconnect = {.enabled = true, .first_delay = 0.001, .max_delay = 0.01}});
  FrameQueue queue({.capacity = 2, .delivery = Delivery::every});
  CancelSource stop;
  std::array<std::jthread, 2> producers;
  for (std::size_t i = 0; i < producers.size(); ++i)
    producers[i] = std::jthread([&, i, token = stop.token()] {
      push_images(queue, static_cast<std::uint8_t>(90 * i), token);
    });

  const Pipeline model = test::tiny_model({.dtype = DType::f32, .threads = 2});
  SlidingWindow window = model.window();
  Shared shared;
  std::atomic<long> exact = 0, rolled = 0;
  std::atomic<bool> failed = false;
  const auto asker = [&](bool rolling, std::atomic<long>& answers) {
    return std::jthread([&, rolling] {
      try {
        ask(model, shared, rolling, answers);
      } catch (const std::exception& e) {
        std::fprintf(stderr, "live_soak: %s\n", e.what());
        failed = true;
      }
    });
  };
  std::jthread exact_asker = asker(false, exact), rolling_asker = asker(true, rolled);
  long settled = 0;
  for (long step = 0; step < steps && !failed; ++step) {
    const std::optional<Frame> frame = step % 2 == 0 ? stream.next() : queue.next();
    if (!frame) return std::fputs("live_soak: a source ended\n", stderr), 1;
    window.push(*frame);
    shared.publish(window.video());
    if (step == steps / 5) settled = resident_kib();
  }
  shared.close();
  stop.cancel();
  const long grown = resident_kib() - settled;
  std::printf(
      "%ld steps, %ld exact and %ld rolling answers, %lld reconnections, %ld KiB, %+ld KiB\n",
      steps, exact.load(), rolled.load(), static_cast<long long>(stream.stats().reconnects),
      settled, grown);
  return failed || (grown > 8192 && grown * 20 > settled) ? 1 : 0;
}

}  // namespace

int main(int argc, char** argv) try {
  const long steps = argc == 2 ? std::atol(argv[1]) : 0;
  if (steps < 1) return std::fputs(kUsage, stderr), 2;
  return soak(steps);
} catch (const std::exception& e) {
  std::fprintf(stderr, "live_soak: %s\n", e.what());
  return 1;
}
