#include "live_reader.hpp"

#include <algorithm>
#include <string>
#include <system_error>
#include <utility>

#include "backoff.hpp"

namespace pllava::detail {

namespace {

constexpr std::size_t kCapacity = 8;  // decoded frames
/// How long a thread waits before it looks at the clock and its cancel token again.
constexpr std::chrono::milliseconds kPoll{10};

double seconds(std::chrono::steady_clock::duration d) {
  return std::chrono::duration<double>(d).count();
}

}  // namespace

LiveReader::LiveReader(MediaInput& input, FrameDecoder& decoder)
    : input_(input),
      decoder_(decoder),
      timeline_(new_timeline()),
      rate_filter_(input.options.fps),
      queue_(kCapacity),
      start_(decoder.demuxer().opened_at()) {
  input_.stop = stop_.token();
  try {
    thread_ = std::thread([this] { run(); });
  } catch (const std::system_error& e) {
    throw Error("cannot start the thread that reads " + input_.name + ": " + e.what());
  }
}

LiveReader::~LiveReader() {
  stop_.cancel();
  changed_.notify_all();
  thread_.join();
  input_.stop = {};
}

std::optional<LiveFrame> LiveReader::next(bool drops_late, const CancelToken& cancel) {
  std::unique_lock lock(mutex_);
  drops_late_ = drops_late;
  for (;;) {
    drop_late();
    if (std::optional<LiveFrame> frame = queue_.pop()) {
      changed_.notify_all();
      return frame;
    }
    input_.options.cancel.check("reading of " + input_.name);
    if (error_) std::rethrow_exception(error_);
    if (ended_) return std::nullopt;
    cancel.check("reading of " + input_.name);
    changed_.wait_for(lock, kPoll);
  }
}

LiveCounts LiveReader::counts() const {
  const std::lock_guard lock(mutex_);
  LiveCounts counts = counts_;
  counts.late = queue_.dropped();
  return counts;
}

void LiveReader::run() {
  Backoff backoff(input_.options.reconnect);
  std::exception_ptr error;
  Index decoded = 0;
  for (;;) {
    error = read_connection();
    if (stopped() || !input_.options.reconnect.enabled) break;
    const Index now = counts().decoded;
    if (now > decoded) backoff.reset();
    decoded = now;
    try {
      if (error)
        std::rethrow_exception(error);
      else
        input_.fail("the sender ended the stream");
    } catch (const MediaError&) {
      error = std::current_exception();  // the last one is thrown if no attempt succeeds
    } catch (...) {
      break;
    }
    {
      const std::lock_guard lock(mutex_);
      counts_.connected = false;
    }
    decoder_.invalidate();
    if (!backoff.wait([&] { return stopped(); })) break;
  }
  const std::lock_guard lock(mutex_);
  error_ = error;
  ended_ = true;
  changed_.notify_all();
}

bool LiveReader::stopped() const {
  return stop_.token().cancelled() || input_.options.cancel.cancelled();
}

/// Reads until the stream ends. Returns the error that ended it, if any.
std::exception_ptr LiveReader::read_connection() {
  try {
    if (!counts().connected) reopen();
    decode_all();
    return nullptr;
  } catch (...) {
    return std::current_exception();
  }
}

void LiveReader::reopen() {
  decoder_.ensure_open();
  timeline_ = new_timeline();
  is_reopened_ = true;
  is_damaged_ = false;
  const std::lock_guard lock(mutex_);
  ++counts_.reconnects;
  counts_.connected = true;
}

Timeline LiveReader::new_timeline() const {
  const Demuxer& demuxer = decoder_.demuxer();
  return {av_q2d(demuxer.stream().time_base), demuxer.frame_interval(), demuxer.clock_may_jump()};
}

void LiveReader::decode_all() {
  while (next_intact()) {
    const double time = next_time();
    if (!rate_filter_.select(time)) continue;
    FfmpegHandle<AVFrame> frame(av_frame_clone(&decoder_.frame()));
    if (!frame) throw OutOfMemoryError("a frame of " + input_.name, sizeof(AVFrame));
    push({std::move(frame), counts().decoded - 1, time, Clock::now()});
    if (stop_.token().cancelled()) return;
  }
  if (decoder_.frames() == 0) input_.fail("the stream ended before its first frame");
  if (decoder_.demuxer().is_endless())
    input_.fail("the sender ended the stream after " + std::to_string(decoder_.frames()) +
                " frames");
}

/// Decodes the next frame. Leaves out damaged frames and those after them, which refer to them, up
/// to the next keyframe.
bool LiveReader::next_intact() {
  while (decoder_.next()) {
    const AVFrame& frame = decoder_.frame();
    const bool damaged =
        (frame.flags & AV_FRAME_FLAG_CORRUPT) != 0 || frame.decode_error_flags != 0;
    is_damaged_ = damaged || (is_damaged_ && frame.pict_type != AV_PICTURE_TYPE_I);
    const std::lock_guard lock(mutex_);
    ++counts_.decoded;
    if (!is_damaged_) return true;
    ++counts_.damaged;
  }
  return false;
}

/// Time of the frame that was decoded last. After a reconnection the time goes on with the clock.
double LiveReader::next_time() {
  const Clock::time_point now = Clock::now();
  if (decoder_.demuxer().lacks_clock()) {
    if (!first_arrival_) first_arrival_ = now;
    return seconds(now - *first_arrival_);
  }
  const double time = timeline_.next(decoder_.pts());
  if (is_reopened_) {
    const std::lock_guard lock(mutex_);
    time_base_ = std::max(last_time_ + decoder_.demuxer().frame_interval(), seconds(now - start_));
    is_reopened_ = false;
  }
  return last_time_ = time_base_ + time;
}

void LiveReader::push(LiveFrame frame) {
  const double time = frame.time;
  std::unique_lock lock(mutex_);
  // A camera does not send frames early: the clock of the source is ahead of ours.
  if (decoder_.demuxer().is_endless())
    start_ = std::min(start_, Clock::now() - std::chrono::duration_cast<Clock::duration>(
                                                 std::chrono::duration<double>(time)));
  for (;;) {
    drop_late();
    if (!queue_.full()) break;
    if (stop_.token().cancelled() || input_.options.cancel.cancelled()) return;
    changed_.wait_for(lock, kPoll);
  }
  queue_.push(std::move(frame), time);
  changed_.notify_all();
}

/// Precondition: mutex_ is locked.
void LiveReader::drop_late() {
  if (drops_late_) queue_.drop_late(seconds(Clock::now() - start_));
}

}  // namespace pllava::detail
