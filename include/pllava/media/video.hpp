// Frames from video files, image directories, cameras and streams. Part of the component video.
// FFmpeg decodes; its types do not appear here.
#pragma once

#include <cstddef>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "pllava/core/control.hpp"
#include "pllava/media/frame_sampling.hpp"
#include "pllava/media/frame_source.hpp"
#include "pllava/media/image.hpp"
#include "pllava/media/image_io.hpp"

namespace pllava {

/// How the frames of a video are numbered. They differ only for files with an edit list, such as
/// losslessly trimmed ones.
enum class FrameNumbering {
  shown,   ///< frames as a player shows them: hidden frames are not counted
  decord,  ///< like the reference's reader: hidden packets count, frames after them move up within
           ///< their group of pictures, and bounds are converted by the average rate
};

/// Whether and how a live source is opened again after a fault, a timeout or its end.
struct Reconnect {
  bool enabled = false;
  double first_delay = 0.5;  ///< seconds before the first attempt; it doubles with each
  double max_delay = 30;     ///< seconds
  int attempts = -1;  ///< in a row without a frame; then the last error is thrown; -1: endless
};

struct VideoOptions {
  /// Frames per second that iteration returns; 0 returns all. `open` does not index a file that has
  /// a rate, so `VideoInfo::frame_count` stays 0 until `sample` or `frames_at` is called.
  double fps = 0.0;
  int threads = 2;                       ///< of the decoder; pixels do not depend on it
  Index max_pixels = kDefaultMaxPixels;  ///< limit per frame; larger ones throw MediaError
  FrameNumbering numbering = FrameNumbering::shown;
  /// Number of the video stream, counted from 0 among the video streams; -1: the first that the
  /// file marks as default, else the first.
  int stream = -1;
  /// Turn and mirror frames as the container's display matrix or the image's EXIF data request.
  bool apply_orientation = true;
  /// Scale frames to the width at which their pixels are square. The reference does not.
  bool square_pixels = false;
  /// A live source that is read more slowly than it sends: `next` leaves out frames that are late,
  /// because a newer one is due, so that its frame is of the present. Off: each frame is returned,
  /// and the sender is slowed down, or loses frames. `sample` takes its frames in either case.
  bool drop_late_frames = true;
  double timeout = 30.0;  ///< seconds that a stream or camera may send no data
  /// Read a file that is being written, a FIFO or standard input ("-") as a live source, from its
  /// start. A file ends when it has not grown for `timeout` seconds, a pipe when its writer closes
  /// it. The format must not have its index at the end: MPEG-TS, Matroska, fragmented MP4.
  bool follow = false;
  /// Of an address or camera: `open` and `next` wait until the source is back, and times go on. Not
  /// for sources that can be read from the start again.
  Reconnect reconnect = {};
  /// Options of FFmpeg's protocols, formats and devices, such as {"framerate", "30"} for a raw
  /// stream or a camera, "video_size", "headers", "rtsp_transport". Unknown names throw
  /// ArgumentError.
  std::map<std::string, std::string> input_options = {};
  /// A playlist of a URL (HLS, DASH) may name addresses of other hosts and ports. Off: they are
  /// refused, so that a playlist cannot make the program reach services of its own network.
  bool follow_other_hosts = false;
  CancelToken cancel = {};  ///< stops `open`, `next` and `rewind` with CancelledError
  /// Called with "index" and MiB, done and in all, while a file is read whole because its container
  /// has no usable index (Matroska, MPEG-TS, ...).
  std::function<void(std::string_view stage, Index done, Index total)> progress = {};
  /// FFmpeg's log level is one per process. True: the first Video sets it to quiet if it still has
  /// FFmpeg's default. False: it is not changed.
  bool silence_ffmpeg = true;
};

struct VideoInfo {
  Index width = 0;  ///< of the first frame, after rotation
  Index height = 0;
  double fps = 0.0;       ///< average rate (avg_frame_rate); 3 for image directories; 0 if unknown
  Index frame_count = 0;  ///< 0 if unknown (camera, stream)
  double duration = 0.0;  ///< seconds, 0 if unknown
  std::string codec;      ///< FFmpeg's name; "images" for image files
  int rotation = 0;       ///< degrees clockwise in the container: 0, 90, 180 or 270; applied
                          ///< unless VideoOptions::apply_orientation is off
  /// Width of a stored pixel divided by its height, before rotation; applied if
  /// VideoOptions::square_pixels is on.
  double pixel_aspect = 1.0;
  Index skipped_frames = 0;  ///< damaged frames of a live source that were left out
  Index late_frames = 0;     ///< late frames of a live source, see VideoOptions::drop_late_frames
  /// What a caller should know about the source, in plain English: frames that cannot be decoded,
  /// other video streams, files that are left out. Grows while frames are read.
  std::vector<std::string> warnings = {};
};

/// The source for messages and logs: of a URL, the user name, the password and the values of the
/// query, which can be secrets, are replaced by "***".
std::string without_secrets(const std::string& source);

/// Called with each frame that is chosen, in the order of decoding; the result is kept in its
/// place.
using FrameTransform = std::function<Frame(const Frame&)>;

struct SampleOptions {
  SamplingRule rule = SamplingRule::eval;
  std::optional<TimeRange> bounds = {};  ///< seconds; not with `demo`
  /// Length in seconds of a clip of a source that cannot be read again, such as a camera or a live
  /// stream: the frames on display at equally spaced times of its next seconds. If it ends earlier,
  /// its last frame is repeated. Rule and bounds do not apply.
  double live_seconds = 8.0;
  /// Crops large frames while decoding, so that only one is in memory at full size: see
  /// `crop_large_frame`.
  FrameTransform transform = {};
  CancelToken cancel = {};  ///< stops the call with CancelledError
};

/// A source of frames, one of:
/// - a video file of any container and codec that FFmpeg supports, including GIFs. (The reference
///   reads GIFs with other libraries. Here a GIF has its own timing and a white background.)
/// - an image (JPEG, PNG, BMP, PNM, WebP, TIFF): a video with one frame for each page;
/// - a directory of images, or a pattern such as "frames/%05d.jpg": ordered by the numbers in the
///   file names, and sampled by the reference's read_frame: 3 frames per second, numbered from 1;
/// - a URL ("scheme://..."), which is not indexed until frames are sampled;
/// - "-" (standard input), a pipe or a FIFO: read to its end into memory, at most 2 GiB, or with
///   VideoOptions::follow as it arrives;
/// - a Linux camera ("/dev/video0"), if FFmpeg's libavdevice is part of the build.
///
/// Frames are RGB of the native size in presentation order. Indices are exact for all containers,
/// with B-frames, variable rates, edit lists and missing timestamps. The rotation and mirroring of
/// the container's display matrix are applied; the pixel aspect ratio on request. Colors are
/// converted by FFmpeg's defaults with the file's matrix (BT.709 if tagged, BT.601 if untagged) and
/// range.
///
/// Times rise from 0 in seconds. If the clock of a source restarts or jumps (joined recordings, a
/// stream that reconnects), frames stay in file order and the time continues one frame interval
/// after the last frame. A single wrong timestamp affects its own frame only.
///
/// Opening a local file reads no other file: playlists are refused. Damaged files give the frames
/// that can be decoded; MediaError if there are none.
///
/// fork(2): a child shares the position in the file with its parent and has no threads for the
/// decoder. There every call that reads frames throws MediaError; open the source again.
///
/// Movable, not thread-safe. Errors are MediaError naming the source unless stated otherwise.
class Video {
 public:
  /// Opens a source. Throws MediaError: missing or empty file, no video stream, too large frames.
  /// Throws ArgumentError for invalid options.
  static Video open(const std::string& source, const VideoOptions& options = {});
  /// Opens a file in memory, a video or an image. `name` is for messages.
  static Video open(std::vector<std::byte> file, const std::string& name = "memory",
                    const VideoOptions& options = {});

  Video(Video&&) noexcept;
  Video& operator=(Video&&) noexcept;
  ~Video();

  const VideoInfo& info() const noexcept;
  /// The source as in messages: `without_secrets`.
  const std::string& source() const noexcept;

  /// The n frames that the sampling rule chooses. Decodes each group of pictures only up to the
  /// last chosen frame in it; GIFs and files without timestamps (AVI with B-frames, raw streams)
  /// are decoded from the start. Repeated indices share their pixels. Throws ArgumentError (n < 1,
  /// bounds outside of the video), CancelledError, MediaError. A source that cannot be read from
  /// the start again (camera, live stream) gives its next SampleOptions::live_seconds.
  Clip sample(Index n, const SampleOptions& options = {});

  /// The frames with these indices, from 0, in any order, with repetitions. Throws as `sample`;
  /// ArgumentError for indices outside of the video.
  Clip frames_at(std::span<const Index> indices, CancelToken cancel = {});

  /// The next frame at the rate `VideoOptions::fps`; nullopt at the end. `cancel`, or its deadline,
  /// ends the call with CancelledError or DeadlineError; the next call goes on. After `sample` and
  /// `frames_at` it starts at the first frame again. Throws MediaError for a source without any
  /// frame, a broken stream, and a stream or camera that sends no data within the timeout.
  std::optional<Frame> next(const CancelToken& cancel = {});

  /// Counts since opening. `age` is 0 for sources that are not live.
  SourceStats stats() const;

  /// Makes the first frame the next one. No effect on cameras and live streams.
  void rewind();

  /// Number of frames decoded since opening, whether returned or not.
  Index decoded_frames() const noexcept;

  /// Single-pass iteration with `next`.
  class Iterator {
   public:
    using iterator_concept = std::input_iterator_tag;
    using value_type = Frame;
    using difference_type = std::ptrdiff_t;

    Iterator() = default;
    explicit Iterator(Video& video) : video_(&video), frame_(video.next()) {}
    const Frame& operator*() const { return *frame_; }
    const Frame* operator->() const { return &*frame_; }
    Iterator& operator++() {
      frame_ = video_->next();
      return *this;
    }
    void operator++(int) { ++*this; }
    bool operator==(std::default_sentinel_t) const { return !frame_; }

   private:
    Video* video_ = nullptr;
    std::optional<Frame> frame_;
  };

  Iterator begin() {
    rewind();
    return Iterator(*this);
  }
  std::default_sentinel_t end() const { return {}; }

  /// Interface of the kinds of sources; internal.
  class Source;

 private:
  explicit Video(std::unique_ptr<Source> source);
  /// The source. Throws MediaError in a child of the process that opened it.
  Source& usable() const;

  struct Close {
    void operator()(Source* source) const noexcept;
  };
  std::unique_ptr<Source, Close> impl_;
};

}  // namespace pllava
