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

LiveQueue<LiveFrame>::Sender sender_of(const Demuxer& demuxer) {
  using Sender = LiveQueue<LiveFrame>::Sender;
  return demuxer.sends_in_real_time() ? Sender::in_real_time : Sender::as_fast_as_read;
}

}  // namespace

LiveReader::LiveReader(MediaInput& input, FrameDecoder& decoder)
    : input_(input),
      decoder_(decoder),
      opened_at_(decoder.demuxer().opened_at()),
      timeline_(new_timeline()),
      rate_filter_(input.options.fps),
      queue_(kCapacity, sender_of(decoder.demuxer())) {
  input_.stop = stop_.token();
  queue_.set_drops_late(input_.options.drop_late_frames);
  decoder_.set_packet_filter([this](const AVPacket& packet) { return is_wanted(packet); });
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
  decoder_.set_packet_filter({});
  input_.stop = {};
}

std::optional<LiveFrame> LiveReader::next(const CancelToken& cancel) {
  std::unique_lock lock(mutex_);
  for (;;) {
    queue_.drop_late(now());
    const bool waits = queue_.is_catching_up(now()) && !ended_;
    if (std::optional<LiveFrame> frame = waits ? std::nullopt : queue_.pop(now())) {
      changed_.notify_all();
      return frame;
    }
    input_.options.cancel.check("reading of " + input_.name);
    if (ended_ && error_) std::rethrow_exception(error_);
    if (ended_) return std::nullopt;
    cancel.check("reading of " + input_.name);
    changed_.wait_for(lock, kPoll);
  }
}

void LiveReader::set_drops_late(bool on) {
  const std::lock_guard lock(mutex_);
  queue_.set_drops_late(on);
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
    const Index decoded_now = counts().decoded;
    if (decoded_now > decoded) backoff.reset();
    decoded = decoded_now;
    const std::exception_ptr passing = passing_fault(error);
    if (!passing) break;
    error = passing;  // the last one is thrown if no attempt succeeds
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

/// The error if another attempt can succeed, otherwise nullptr. The end of the stream is a fault
/// too.
std::exception_ptr LiveReader::passing_fault(const std::exception_ptr& error) const {
  try {
    if (error) std::rethrow_exception(error);
    input_.fail("the sender ended the stream");
  } catch (const PermanentMediaError&) {
    return nullptr;
  } catch (const MediaError&) {
    return std::current_exception();
  } catch (...) {
    return nullptr;
  }
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

/// Selects frames before they are decoded, if the codec allows it.
bool LiveReader::is_wanted(const AVPacket& packet) {
  if (!decoder_.is_intra_only()) return true;
  return selects(packet.pts != AV_NOPTS_VALUE ? packet.pts : packet.dts);
}

void LiveReader::decode_all() {
  while (next_intact()) {
    if (!decoder_.is_intra_only() && !selects(decoder_.pts())) continue;
    FfmpegHandle<AVFrame> frame(av_frame_clone(&decoder_.frame()));
    if (!frame) throw OutOfMemoryError("a frame of " + input_.name, sizeof(AVFrame));
    push({std::move(frame), counts().arrived - 1, time_, Clock::now()});
    if (stop_.token().cancelled()) return;
  }
  if (decoder_.frames() == 0) input_.fail("the stream ended before its first frame");
  if (decoder_.demuxer().is_endless())
    input_.fail("the sender ended the stream after " + std::to_string(decoder_.frames()) +
                " frames");
}

/// Whether the frame that arrived is one of VideoOptions::fps; time_ is then its time.
bool LiveReader::selects(std::int64_t pts) {
  const double time = next_time(pts);
  {
    const std::lock_guard lock(mutex_);
    if (decoder_.is_intra_only()) ++counts_.arrived;
    queue_.arrive(time, now());
  }
  if (!rate_filter_.select(time)) return false;
  time_ = time;
  return true;
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
    if (!decoder_.is_intra_only()) ++counts_.arrived;
    if (!is_damaged_) return true;
    ++counts_.damaged;
  }
  return false;
}

/// Time of the frame that arrived last. After a reconnection the time goes on with the clock.
double LiveReader::next_time(std::int64_t pts) {
  if (decoder_.demuxer().lacks_clock()) {
    if (!first_arrival_) first_arrival_ = Clock::now();
    return seconds(Clock::now() - *first_arrival_);
  }
  const double time = timeline_.next(pts);
  if (is_reopened_) {
    const std::lock_guard lock(mutex_);
    time_base_ = std::max(last_time_ + decoder_.demuxer().frame_interval(),
                          queue_.source_time(seconds(decoder_.demuxer().opened_at() - opened_at_)));
    is_reopened_ = false;
  }
  return last_time_ = time_base_ + time;
}

void LiveReader::push(LiveFrame frame) {
  const double time = frame.time;
  std::unique_lock lock(mutex_);
  for (;;) {
    queue_.drop_late(now());
    if (!queue_.full()) break;
    if (stopped()) return;
    changed_.wait_for(lock, kPoll);
  }
  queue_.push(std::move(frame), time, now());
  changed_.notify_all();
}

/// Seconds since the source was opened.
double LiveReader::now() const {
  return seconds(Clock::now() - opened_at_);
}

}  // namespace pllava::detail
