// Opens a container and reads the packets of its video stream.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "ffmpeg_handles.hpp"
#include "pllava/media/video.hpp"

namespace pllava::detail {

/// Address, limits and cancellation of a source. FFmpeg polls `interrupted` while it waits for
/// data, so the object must not move while a Demuxer uses it.
struct MediaInput {
  enum class Kind { file, url, camera };

  std::string name;  ///< for messages
  Kind kind;
  std::string address;  ///< in FFmpeg's form
  VideoOptions options;
  CancelToken cancel = {};  ///< of the current call
  std::chrono::steady_clock::time_point deadline = {};

  /// Restarts the timeout.
  void extend_deadline();
  /// Whether the call is cancelled or, except for files, past the deadline.
  bool interrupted() const;
  /// Throws CancelledError.
  void check_cancelled() const;
  /// Throws MediaError for frames above VideoOptions::max_pixels.
  void check_size(Index width, Index height) const;
  [[noreturn]] void fail(const std::string& problem) const { throw MediaError(name, problem); }
};

/// An open container and its video stream.
class Demuxer {
 public:
  /// Opens the container at its first packet. Throws MediaError: it cannot be opened or has no
  /// video stream; CancelledError.
  explicit Demuxer(MediaInput& input);

  AVStream& stream() const noexcept { return *stream_; }
  /// Whether the source can be read from its start again.
  bool seekable() const noexcept { return seekable_; }
  /// Seconds, 0 if unknown.
  double duration() const;

  /// Reads the next packet of the video stream. False at the end; for a damaged file this can be
  /// early. Throws MediaError for a stream that breaks or times out, CancelledError.
  bool read(AVPacket& packet);
  /// Seeks to a keyframe, usually at or before `timestamp`. False if the container does not
  /// support it.
  bool seek(std::int64_t timestamp);

 private:
  void open_container();
  void probe_streams();
  void select_stream();

  MediaInput& input_;
  FfmpegHandle<AVFormatContext> context_;
  AVStream* stream_ = nullptr;
  bool seekable_ = false;
};

}  // namespace pllava::detail
