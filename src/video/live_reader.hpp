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
  Index number = 0;  ///< among the decoded frames
  double time = 0;   ///< seconds from the first frame
  std::chrono::steady_clock::time_point arrival = {};
};

struct LiveCounts {
  Index decoded = 0;
  Index damaged = 0;  ///< left out
  Index late = 0;     ///< left out
  Index reconnects = 0;
  bool connected = true;
};

/// The thread decodes as long as the queue has room, so that a consumer of any speed gets frames of
/// the present. The time of the source runs with the clock since the source was opened. A sender
/// that is faster than real time (a file over HTTP) is slowed down to the consumer's speed. If
/// VideoOptions::reconnect is on, the thread opens the source again after a fault or its end.
class LiveReader {
 public:
  /// Starts the thread at the decoder's position. `input` and `decoder` belong to it from now on.
  LiveReader(MediaInput& input, FrameDecoder& decoder);
  LiveReader(const LiveReader&) = delete;
  LiveReader& operator=(const LiveReader&) = delete;
  ~LiveReader();

  /// Waits for the next frame at VideoOptions::fps; nullopt at the end of the stream. `drop_late`:
  /// leaves out frames that are late, until the next call. Throws the error of the thread, which
  /// has then ended; CancelledError if `cancel` is cancelled.
  std::optional<LiveFrame> next(bool drop_late, const CancelToken& cancel);

  LiveCounts counts() const;

 private:
  using Clock = std::chrono::steady_clock;

  void run();
  std::exception_ptr read_connection();
  void reopen();
  bool stopped() const;
  Timeline new_timeline() const;
  void decode_all();
  bool next_intact();
  double next_time();
  void push(LiveFrame frame);
  void drop_late();

  MediaInput& input_;
  FrameDecoder& decoder_;
  CancelSource stop_;
  std::thread thread_;

  // Of the thread.
  Timeline timeline_;         // of this connection
  double time_base_ = 0;      // time of the source at the first frame of this connection
  double last_time_ = 0;      // of the frame that was decoded last
  bool is_reopened_ = false;  // and no frame was decoded since
  RateFilter rate_filter_;
  std::optional<Clock::time_point> first_arrival_;
  bool is_damaged_ = false;  // since a damaged frame

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  // With mutex_.
  LiveQueue<LiveFrame> queue_;
  Clock::time_point start_;  // when the first frame was due
  bool drops_late_ = false;
  bool ended_ = false;
  std::exception_ptr error_;
  LiveCounts counts_;
};

}  // namespace pllava::detail
