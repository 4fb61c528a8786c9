// 64 sessions on 8 threads over one model, for a number of minutes. Fails if an answer differs from
// the first answer to the same question, or if memory grows. Not a test of ctest: it runs as long
// as it is told to.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <map>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <unistd.h>

#include "pllava/pllava.hpp"
#include "support/tiny_model.hpp"

namespace {

using namespace pllava;
using Clock = std::chrono::steady_clock;

constexpr int kThreads = 8, kSessionsPerThread = 8, kPoolThreads = 2;
constexpr std::size_t kClips = 4;
// A session is replaced after this many conversations on average.
constexpr int kConversationsPerSession = 20;

constexpr const char* kUsage =
    R"(Usage: pllava_load MINUTES [MODEL]
  MINUTES   duration, a decimal number above 0
  MODEL     checkpoint directory (default: the demo model)
Runs 64 sessions on 8 threads over one model: questions and follow-ups, greedy and sampled, rewinds,
cancelled questions, new sessions over clips that are encoded again or once. Prints the resident
memory once a minute, in short runs ten times.
Exit code 1 if an answer differs from the first one to the same question, if a call throws, or if
the resident memory exceeds that after the warm-up by more than 5 % and 8 MiB. The warm-up ends when
all sessions have answered and a fifth of the time is over, but not in the first minute.
)";

/// The answers that were given first.
class FirstAnswers {
 public:
  /// Whether `ids` equal the first ones given for `question`.
  bool agrees(const std::string& question, const std::vector<std::int32_t>& ids) {
    const std::lock_guard lock(mutex_);
    return answers_.try_emplace(question, ids).first->second == ids;
  }
  std::size_t size() {
    const std::lock_guard lock(mutex_);
    return answers_.size();
  }

 private:
  std::mutex mutex_;
  std::map<std::string, std::vector<std::int32_t>> answers_;
};

/// What all threads share.
struct Run {
  explicit Run(Pipeline m) : model(std::move(m)) {
    for (std::size_t c = 0; c < kClips; ++c) {
      clips.push_back(test::moving_clip(static_cast<Index>(5 + 4 * c)));
      videos.push_back(model.encode(clips.back()));
    }
  }

  /// Ends all threads.
  void fail(const std::string& problem) {
    std::fprintf(stderr, "pllava_load: %s\n", problem.c_str());
    failed = true;
    stop();
  }
  void stop() {
    const std::lock_guard lock(mutex);
    stopping = true;
    ended.notify_all();
  }

  const Pipeline model;
  std::vector<Clip> clips;
  std::vector<EncodedVideo> videos;  // of `clips`
  FirstAnswers first;
  std::atomic<bool> stopping{false}, failed{false};
  std::atomic<int> warm_threads{0};  // whose sessions have all answered
  std::atomic<std::uint64_t> answers{0}, sessions{0}, cancelled{0};
  std::mutex mutex;
  std::condition_variable ended;
};

/// A session and the point after its video.
struct Conversation {
  std::size_t clip;
  Session session;
  Session::Mark video = session.mark();
};

class Worker {
 public:
  Worker(Run& run, unsigned seed) : run_(run), random_(seed), sessions_(kSessionsPerThread) {}

  void work() {
    try {
      for (auto& session : sessions_)
        if (!run_.stopping) converse(session);
      ++run_.warm_threads;
      while (!run_.stopping) converse(sessions_[below(sessions_.size())]);
    } catch (const std::exception& e) {
      run_.fail(e.what());
    }
  }

 private:
  std::size_t below(std::size_t bound) { return random_() % bound; }

  void converse(std::optional<Conversation>& slot) {
    if (!slot || below(kConversationsPerSession) == 0) {
      slot.reset();
      const std::size_t clip = below(kClips);
      const WatchOptions options{.capacity = 512};
      Session session = below(2) == 0 ? run_.model.watch(run_.clips[clip], options)
                                      : run_.model.watch(run_.videos[clip], options);
      slot.emplace(Conversation{clip, std::move(session)});
      ++run_.sessions;
    }
    slot->session.rewind(slot->video);
    std::string history = std::to_string(slot->clip);
    for (std::size_t turns = 1 + below(3); turns > 0; --turns) ask(slot->session, history);
  }

  /// Asks a question after the conversation `history`.
  void ask(Session& session, std::string& history) {
    static const std::vector<std::string> kQuestions = {
        "Describe the video in details.", "What colour is the ring?",
        "In which direction does the ring move?", "How many shapes are there?"};
    const std::string& question = kQuestions[below(kQuestions.size())];
    GenerateOptions options{.max_new_tokens = 24};
    if (below(2) == 0) options.sampling = {.temperature = 0.8f, .top_k = 20, .top_p = 0.9f};
    if (below(16) == 0) cancel(session, question, options);
    history += '|' + question + (options.sampling.temperature > 0 ? "|sampled" : "|greedy");
    if (!run_.first.agrees(history, session.ask(question, options).output_ids))
      run_.fail("another answer than the first one: " + history);
    ++run_.answers;
  }

  /// A question that is cancelled while it is answered. The session is as before afterwards.
  void cancel(Session& session, const std::string& question, GenerateOptions options) {
    std::atomic<bool> flag{false};
    options.control.cancel = &flag;
    try {
      session.ask(question, options, [&](std::string_view) {
        flag = true;
        return true;
      });
    } catch (const CancelledError&) {
      ++run_.cancelled;
    }
  }

  Run& run_;
  std::minstd_rand random_;
  std::vector<std::optional<Conversation>> sessions_;
};

/// Resident memory of the process in KiB.
long resident_kib() {
  std::ifstream file("/proc/self/statm");
  long all = 0, resident = 0;
  file >> all >> resident;
  return resident * ::sysconf(_SC_PAGESIZE) / 1024;
}

/// Prints the memory until `duration` is over, and checks it after the warm-up.
void watch_memory(Run& run, Clock::duration duration) {
  const Clock::time_point start = Clock::now();
  const Clock::duration interval =
      std::min<Clock::duration>(std::chrono::minutes(1), duration / 10);
  const Clock::duration warm_up = std::max<Clock::duration>(std::chrono::minutes(1), duration / 5);
  std::optional<long> warm;
  std::unique_lock lock(run.mutex);
  for (int i = 1; i * interval <= duration; ++i) {
    if (run.ended.wait_until(lock, start + i * interval, [&] { return run.stopping.load(); }))
      return;
    const long now = resident_kib();
    const double minutes = std::chrono::duration<double, std::ratio<60>>(i * interval).count();
    std::printf(
        "%6.1f min  %8ld KiB  %9llu answers  %zu different  %llu sessions  %llu cancelled\n",
        minutes, now, static_cast<unsigned long long>(run.answers), run.first.size(),
        static_cast<unsigned long long>(run.sessions),
        static_cast<unsigned long long>(run.cancelled));
    std::fflush(stdout);
    if (i * interval < warm_up || run.warm_threads < kThreads) continue;
    if (!warm) warm = now;
    const long bound = *warm + *warm / 20 + 8 * 1024;
    if (now <= bound) continue;
    lock.unlock();
    run.fail("the resident memory of " + std::to_string(now) + " KiB exceeds the bound of " +
             std::to_string(bound) + " KiB");
    return;
  }
}

int load(const std::string& model, double minutes) {
  const auto duration = std::chrono::duration_cast<Clock::duration>(
      std::chrono::duration<double, std::ratio<60>>(minutes));
  Run run(Pipeline::load(model, {}, {.threads = kPoolThreads}));
  {
    std::vector<std::jthread> threads;
    for (unsigned i = 0; i < kThreads; ++i)
      threads.emplace_back([&run, i] { Worker(run, i + 1).work(); });
    watch_memory(run, duration);
    run.stop();
  }
  return run.failed ? 1 : 0;
}

}  // namespace

int main(int argc, char** argv) {
  char* end = nullptr;
  const double minutes = argc == 2 || argc == 3 ? std::strtod(argv[1], &end) : 0;
  if (end == nullptr || *end != '\0' || !(minutes > 0) || minutes > 1e6) {
    std::fputs(kUsage, stderr);
    return 2;
  }
  try {
    return load(argc == 3 ? argv[2] : PLLAVA_DEMO_MODEL "/weights", minutes);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "pllava_load: %s\n", e.what());
    return 1;
  }
}
