// Opens a container and reads the packets of its video stream.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "byte_stream.hpp"
#include "ffmpeg_handles.hpp"
#include "packet_index.hpp"
#include "pllava/media/video.hpp"

namespace pllava::detail {

/// "30 s"
std::string seconds_text(double seconds);

/// A fault that a later attempt to open the source meets again.
class PermanentMediaError : public MediaError {
 public:
  using MediaError::MediaError;
};

/// Address, limits and cancellation of a source. FFmpeg polls `interrupted` while it waits for
/// data, so the object must not move while a Demuxer uses it.
struct MediaInput {
  enum class Kind {
    file,
    memory,
    url,
    camera,
    growing,  ///< a file that is being written
    pipe      ///< standard input or a FIFO, read as it arrives
  };

  std::string name;  ///< for messages
  Kind kind;
  std::string address;  ///< in FFmpeg's form; a path for growing files and pipes
  VideoOptions options;
  std::shared_ptr<const std::vector<std::byte>> bytes = {};  ///< the file, for memory
  CancelToken cancel = {};                                   ///< of the current call
  CancelToken stop = {};                                     ///< of the thread that reads
  std::chrono::steady_clock::time_point deadline = {};
  std::string stream_change = {};    ///< a sentence, after the video stream was replaced
  std::string refused_address = {};  ///< that a playlist names: see follow_other_hosts

  /// Restarts the timeout; `more` seconds are added to it.
  void extend_deadline(double more = 0.0);
  /// Whether data arrive over time.
  bool may_wait() const { return kind != Kind::file && kind != Kind::memory; }
  /// Whether the call or the source (VideoOptions::cancel) is cancelled.
  bool cancelled() const { return cancel.cancelled() || options.cancel.cancelled(); }
  /// Whether it is cancelled or stopped or, if data arrive over time, past the deadline.
  bool interrupted() const;
  /// Throws CancelledError.
  void check_cancelled() const;
  /// Throws MediaError if a playlist named an address that was refused.
  void check_refused_address() const;
  /// Throws MediaError for frames above VideoOptions::max_pixels.
  void check_size(Index width, Index height) const;
  [[noreturn]] void fail(const std::string& problem) const { throw MediaError(name, problem); }
  [[noreturn]] void fail_for_good(const std::string& problem) const {
    throw PermanentMediaError(name, problem);
  }
};

/// An open container and its video stream.
class Demuxer {
 public:
  /// Opens the container at its first packet. Throws MediaError: it cannot be opened or has no
  /// video stream; CancelledError.
  explicit Demuxer(MediaInput& input);

  /// The video stream. `read` can change it: after a change of the PID or codec, a transport stream
  /// continues in another one.
  AVStream& stream() const noexcept { return *stream_; }
  /// Whether the source can be read from its start again, and ends.
  bool seekable() const noexcept { return seekable_; }
  /// Whether the source sends frames until it is switched off: a camera, or a live stream of a
  /// protocol for such streams. Its end is a fault. (Over HTTP and TCP, finite files arrive too.)
  bool is_endless() const;
  /// Whether frames have no timestamps and arrive as they are captured.
  bool lacks_clock() const;
  /// Whether frames are sent when they are due, never early: by cameras, protocols for live
  /// streams, and without timestamps.
  bool sends_in_real_time() const;
  /// A sentence about the video streams that are not read; empty if there are none.
  std::string other_video_streams() const;
  /// When opening of the container began.
  std::chrono::steady_clock::time_point opened_at() const noexcept { return opened_at_; }
  /// Seconds, 0 if unknown.
  double duration() const;
  /// Average frames per second, 0 if unknown.
  double frame_rate() const;
  /// Seconds between frames on average, 1/25 if unknown.
  double frame_interval() const;
  /// Whether the format allows jumps of the clock.
  bool clock_may_jump() const { return (context_->iformat->flags & AVFMT_TS_DISCONT) != 0; }

  /// The packets of the video stream as the index of the container lists them, without reading
  /// them; presentation times up to a constant. Empty if the container has no such index, or it
  /// does not fit the file.
  std::vector<PacketInfo> container_index() const;

  /// Offset of the data that were read last, and size of the file, in bytes; 0 if unknown.
  std::int64_t position() const { return context_->pb == nullptr ? 0 : avio_tell(context_->pb); }
  std::int64_t size() const;

  /// Reads the next packet of the video stream. False at the end; for a damaged file this can be
  /// early. Throws MediaError for a stream that breaks or times out, CancelledError.
  bool read(AVPacket& packet);
  /// Seeks to a keyframe, usually at or before `timestamp`. False if the container does not
  /// support it.
  bool seek(std::int64_t timestamp);

 private:
  void open_container();
  void make_own_io(int (*read_bytes)(void*, std::uint8_t*, int),
                   std::int64_t (*seek_bytes)(void*, std::int64_t, int));
  [[noreturn]] void fail_to_open(int status) const;
  bool is_of_the_program(int stream) const;
  bool continues_in(int stream) const;
  void look_for_replacements();
  int read_frame(AVPacket& packet);
  bool has_live_protocol() const;
  bool is_growing() const { return input_.kind == MediaInput::Kind::growing; }
  void probe_streams();
  std::vector<int> video_streams() const;
  void select_stream();

  static int open_address(AVFormatContext* context, AVIOContext** io, const char* address,
                          int flags, AVDictionary** options);
  static int read_memory(void* demuxer, std::uint8_t* to, int size);
  static std::int64_t seek_memory(void* demuxer, std::int64_t offset, int whence);
  static int read_stream(void* demuxer, std::uint8_t* to, int size);

  MediaInput& input_;
  const std::chrono::steady_clock::time_point opened_at_ = std::chrono::steady_clock::now();
  std::optional<ByteStream> stream_bytes_;  // of a growing file or a pipe
  FfmpegHandle<AVIOContext> own_io_;        // outlives context_
  std::size_t memory_position_ = 0;
  int (*default_open_)(AVFormatContext*, AVIOContext**, const char*, int, AVDictionary**) = nullptr;
  FfmpegHandle<AVFormatContext> context_;
  AVStream* stream_ = nullptr;
  int program_ = -1;               // id of its program
  int probed_streams_ = 0;         // streams that are known from the start
  std::vector<int> replacements_;  // of these, the ones that may continue the video stream
  std::deque<FfmpegHandle<AVPacket>> read_ahead_;
  bool seekable_ = false;
};

}  // namespace pllava::detail
