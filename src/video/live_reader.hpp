// Reads a live source on a thread of its own.
#pragma once

#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <optional>
#include <thread>

#include "frame_decoder.hpp"
#include "live_queue.hpp"
#include "pllava/core/control.hpp"
#include "source.hpp"
#include "timeline.hpp"

namespace pllava::detail {

struct LiveFrame {
  FfmpegHandle<AVFrame> decoded;
  Index number = 0;  ///< among the frames that arrived
  double time = 0;   ///< seconds from the first frame
  std::chrono::steady_clock::time_point arrival = {};
};

struct LiveCounts {
  Index arrived = 0;
  Index decoded = 0;
  Index damaged = 0;  ///< left out
  Index late = 0;     ///< left out
  Index reconnects = 0;
  bool connected = true;
};

/// The thread decodes as long as the queue has room. Late frames are dropped there (see LiveQueue),
/// so that a consumer of any speed gets frames of the present. A sender that is faster than real
/// time (a file over HTTP) is slowed down to the consumer's speed. If VideoOptions::reconnect is
/// on, the thread opens the source again after a fault or its end. Frames between those of
/// VideoOptions::fps are not decoded if the codec allows it.
class LiveReader {
 public:
  /// Starts the thread at the decoder's position. `input` and `decoder` belong to it from now on.
  /// Late frames are dropped if VideoOptions::drop_late_frames is on.
  LiveReader(MediaInput& input, FrameDecoder& decoder);
  LiveReader(const LiveReader&) = delete;
  LiveReader& operator=(const LiveReader&) = delete;
  ~LiveReader();

  /// Waits for the next frame at VideoOptions::fps; nullopt at the end of the stream. Throws the
  /// error of the thread, which has then ended; CancelledError if `cancel` is cancelled.
  std::optional<LiveFrame> next(const CancelToken& cancel);

  /// Whether late frames are dropped from now on.
  void set_drops_late(bool on);

  LiveCounts counts() const;

 private:
  using Clock = std::chrono::steady_clock;

  void run();
  std::exception_ptr read_connection();
  void reopen();
  std::exception_ptr passing_fault(const std::exception_ptr& error) const;
  bool stopped() const;
  Timeline new_timeline() const;
  bool is_wanted(const AVPacket& packet);
  void decode_all();
  bool next_intact();
  double next_time(std::int64_t pts);
  bool selects(std::int64_t pts);
  void push(LiveFrame frame);
  double now() const;

  MediaInput& input_;
  FrameDecoder& decoder_;
  const Clock::time_point opened_at_;
  CancelSource stop_;
  std::thread thread_;

  // Of the thread.
  Timeline timeline_;         // of this connection
  double time_base_ = 0;      // time of the source at the first frame of this connection
  double last_time_ = 0;      // of the frame that was decoded last
  bool is_reopened_ = false;  // and no frame was decoded since
  double time_ = 0;           // of the frame that was selected last
  RateFilter rate_filter_;
  std::optional<Clock::time_point> first_arrival_;
  bool is_damaged_ = false;  // since a damaged frame

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  // With mutex_.
  LiveQueue<LiveFrame> queue_;
  bool ended_ = false;
  std::exception_ptr error_;
  LiveCounts counts_;
};

}  // namespace pllava::detail
