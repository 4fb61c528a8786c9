// watch: questions about a sliding window over a live video.
#include <algorithm>
#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>
#include <sys/ioctl.h>
#include <unistd.h>

#include "answer.hpp"
#include "clip.hpp"
#include "commands.hpp"
#include "output.hpp"
#include "recording.hpp"
#include "watched.hpp"

namespace cli {

#ifdef PLLAVA_HAS_VIDEO

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// The frames of a source or of a recording.
class LiveFrames {
 public:
  LiveFrames(const Context& context, const std::string& source) {
    if (RecordingReader::is_recording(source)) {
      recording_.emplace(source);
      return;
    }
    pllava::VideoOptions options = video_options(context);
    options.fps = context.options.fps;
    options.follow = context.options.follow;
    options.reconnect.enabled = context.options.reconnect;
    video_.emplace(pllava::Video::open(source, options));
  }

  /// The next frame, cropped to what a model sees.
  std::optional<pllava::Frame> next(const pllava::PreprocessConfig& config) {
    std::optional<pllava::Frame> frame = recording_ ? recording_->next() : video_->next();
    if (!frame || recording_) return frame;
    pllava::Frame cropped = pllava::crop_large_frame(*frame, config);
    cropped.time = frame->time;
    cropped.index = frame->index;
    return cropped;
  }

  pllava::SourceStats stats() const { return video_ ? video_->stats() : pllava::SourceStats{}; }

 private:
  std::optional<RecordingReader> recording_;
  std::optional<pllava::Video> video_;
};

/// One answer about the window.
struct Event {
  Index number = 0;
  std::string question;
  std::vector<double> frame_times;
  pllava::Answer answer;
  pllava::SlideReport slide;
  double encode_ms = 0;  ///< of the frames since the event before
  double age = 0;        ///< seconds from the arrival of the newest frame to the end of the answer
  pllava::WindowCounts counts;
  pllava::SourceStats source;
};

std::string to_json_line(const Event& e) {
  const nlohmann::ordered_json json = {
      {"event", e.number},
      {"start", e.frame_times.front()},
      {"end", e.frame_times.back()},
      {"frame_times", e.frame_times},
      {"question", e.question},
      {"text", e.answer.text},
      {"output_ids", e.answer.output_ids},
      {"finish_reason", pllava::name_of(e.answer.finish_reason)},
      {"exact", e.slide.exact},
      {"prefilled_tokens", e.slide.prefilled_tokens},
      {"frames",
       {{"encoded", e.counts.encoded}, {"repeated", e.counts.repeated}, {"still", e.counts.still}}},
      {"timings_ms",
       {{"encode", e.encode_ms},
        {"prefill", e.slide.prefill_ms + e.answer.prefill_ms},
        {"generate", e.answer.generate_ms}}},
      {"live",
       {{"age_s", e.age},
        {"late_frames", e.source.dropped},
        {"damaged_frames", e.source.damaged},
        {"reconnects", e.source.reconnects}}}};
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + '\n';
}

std::string decimal(double value) {
  std::string text = std::to_string(value);
  return text.substr(0, text.find('.') + 2);
}

/// Writes events: lines, or in a terminal one line that is rewritten.
class EventWriter {
 public:
  explicit EventWriter(const Context& context)
      : json_(context.options.json),
        several_(context.options.questions.size() > 1),
        rewrites_(!json_ && ::isatty(STDOUT_FILENO) != 0) {}
  ~EventWriter() {
    if (written_) std::fputs("\n", stdout);
  }
  EventWriter(const EventWriter&) = delete;
  EventWriter& operator=(const EventWriter&) = delete;

  void write(const Event& e) {
    if (json_) return write_output(to_json_line(e));
    std::string line = decimal(e.frame_times.back()) + " s: ";
    if (several_) line += e.question + " ";
    line += e.answer.text;
    if (!rewrites_) return write_output(line + '\n');
    std::replace(line.begin(), line.end(), '\n', ' ');
    const std::string rates =
        "  [" + decimal(e.age) + " s old, " + std::to_string(e.source.dropped) + " late]";
    const std::size_t room = columns() > rates.size() ? columns() - rates.size() : 1;
    write_output("\r\033[K" + line.substr(0, room) + rates);
    written_ = true;
  }

 private:
  static std::size_t columns() {
    ::winsize size{};
    return ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1
               ? static_cast<std::size_t>(size.ws_col - 1)
               : 79;
  }

  bool json_, several_, rewrites_;
  bool written_ = false;
};

/// The window with the session for its questions.
class Watcher {
 public:
  Watcher(const Context& context, const LoadedModel& model)
      : context_(context),
        model_(model),
        window_(model.pipeline.window(
            {.frames = context.options.window, .still_below = context.options.still_below})),
        questions_(context.options.questions) {
    if (questions_.empty()) questions_ = {default_question(context.options)};
  }

  /// `age`: seconds since the frame arrived.
  void push(const pllava::Frame& frame, double age) {
    const Clock::time_point start = Clock::now();
    arrival_ =
        start - std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(age));
    window_.push(frame, quiet());
    encode_ms_ += seconds_since(start) * 1e3;
  }

  /// Asks all questions; returns false once --events answers are written.
  bool ask(EventWriter& writer, const LiveFrames& frames) {
    const Options& o = context_.options;
    pllava::SlideReport slide = slide_window();
    const pllava::Session::Mark seen = session_->mark();
    pllava::GenerateOptions generate = o.generate;
    generate.control = quiet();
    for (const std::string& question : questions_) {
      session_->rewind(seen);
      Event event{.number = ++events_,
                  .question = question,
                  .frame_times = window_.times(),
                  .answer = session_->ask(question, generate),
                  .slide = slide,
                  .encode_ms = encode_ms_,
                  .age = seconds_since(arrival_),
                  .counts = window_.counts(),
                  .source = frames.stats()};
      writer.write(event);
      encode_ms_ = 0;
      slide.prefilled_tokens = 0, slide.prefill_ms = 0;  // counted with the first question
      if (events_ == o.events) return false;
    }
    return true;
  }

  Index events() const noexcept { return events_; }
  bool empty() const noexcept { return window_.size() == 0; }

 private:
  pllava::RunControl quiet() const { return {context_.interrupt.token(), {}}; }

  pllava::SlideReport slide_window() {
    const pllava::EncodedVideo video = window_.video();
    if (session_)
      return session_->slide_to(video, {.rolling = context_.options.rolling,
                                        .refresh_every = context_.options.refresh_every,
                                        .control = quiet()});
    pllava::WatchOptions options = watch_options(context_);
    options.control = quiet();
    session_.emplace(model_.pipeline.watch(video, options));
    return {0, video.tokens(), true, session_->report().video.prefill_ms};
  }

  const Context& context_;
  const LoadedModel& model_;
  pllava::SlidingWindow window_;
  std::vector<std::string> questions_;
  std::optional<pllava::Session> session_;
  Clock::time_point arrival_;
  double encode_ms_ = 0;
  Index events_ = 0;
};

}  // namespace

int watch_live(const Context& context) {
  const Options& o = context.options;
  // Loading a model takes long, so what can fail at once comes first.
  if (!o.record.empty()) RecordingWriter::check_free(o.record);
  LiveFrames frames(context, o.videos.at(0));
  const LoadedModel model = load_model(context);
  const pllava::PreprocessConfig& config = model.pipeline.preprocess_config();
  Watcher watcher(context, model);
  std::optional<RecordingWriter> recording;
  if (!o.record.empty()) recording.emplace(o.record);
  EventWriter writer(context);
  std::optional<double> next_question;  // time of the source
  context.status.clear();
  while (const std::optional<pllava::Frame> frame = frames.next(config)) {
    if (recording) recording->write(*frame);
    watcher.push(*frame, frames.stats().age);
    if (!next_question) next_question = frame->time + o.every;
    if (frame->time < *next_question) continue;
    while (*next_question <= frame->time) *next_question += o.every;
    if (!watcher.ask(writer, frames)) return kSuccess;
  }
  if (watcher.empty()) throw pllava::MediaError(display_name(o.videos.at(0)), "has no frames");
  if (watcher.events() == 0) watcher.ask(writer, frames);  // a video shorter than --every
  return kSuccess;
}

#else

int watch_live(const Context& context) {
  throw pllava::MediaError(context.options.videos.at(0),
                           "this program was built without component video (-DPLLAVA_VIDEO=ON)");
}

#endif

}  // namespace cli
