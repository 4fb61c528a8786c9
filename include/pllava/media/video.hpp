// Frames from video files, image directories, cameras and streams. Part of the component video.
// FFmpeg decodes; its types do not appear here.
#pragma once

#include <cstddef>
#include <iterator>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "pllava/core/control.hpp"
#include "pllava/media/frame_sampling.hpp"
#include "pllava/media/image.hpp"
#include "pllava/media/image_io.hpp"

namespace pllava {

struct VideoOptions {
  /// Frames per second that iteration returns; 0 returns all. `open` does not index a file that has
  /// a rate, so `VideoInfo::frame_count` stays 0 until `sample` or `frames_at` is called.
  double fps = 0.0;
  int threads = 2;                       ///< of the decoder; pixels do not depend on it
  Index max_pixels = kDefaultMaxPixels;  ///< limit per frame; larger ones throw MediaError
  double timeout = 30.0;                 ///< seconds that a stream or camera may send no data
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
};

struct SampleOptions {
  SamplingRule rule = SamplingRule::eval;
  std::optional<TimeRange> bounds = {};  ///< seconds; only with `eval`
  CancelToken cancel = {};               ///< stops the call with CancelledError
};

/// A source of frames, one of:
/// - a video file of any container and codec that FFmpeg supports, including GIFs. (The reference
///   reads GIFs with other libraries. Here a GIF has its own timing and a white background.)
/// - an image (JPEG, PNG, BMP, PNM): a video of one frame;
/// - a directory of images, or a pattern such as "frames/%05d.jpg": ordered by the numbers in the
///   file names, and sampled by the reference's read_frame: 3 frames per second, numbered from 1;
/// - a URL ("scheme://..."), which is not indexed until frames are sampled;
/// - a Linux camera ("/dev/video0"), if FFmpeg's libavdevice is part of the build.
///
/// Frames are RGB of the native size in presentation order. Indices are exact for all containers,
/// with B-frames, variable rates, edit lists and missing timestamps. The rotation and mirroring of
/// the container's display matrix are applied; the pixel aspect ratio is ignored. Colors are
/// converted by FFmpeg's defaults with the file's matrix (BT.709 if tagged, BT.601 if untagged) and
/// range.
///
/// Frames are counted and numbered by packets, like in the reference's reader (decord). Packets
/// that an edit list hides count too: `frame_count` can exceed the number of frames that iteration
/// returns, and frames after hidden ones move up within their group of pictures (GOP).
///
/// Opening a local file reads no other file: playlists are refused. Damaged files give the frames
/// that can be decoded; MediaError if there are none.
///
/// Movable, not thread-safe. Errors are MediaError naming the source unless stated otherwise.
class Video {
 public:
  /// Opens a source. Throws MediaError: missing or empty file, no video stream, too large frames.
  /// Throws ArgumentError for invalid options.
  static Video open(const std::string& source, const VideoOptions& options = {});

  Video(Video&&) noexcept;
  Video& operator=(Video&&) noexcept;
  ~Video();

  const VideoInfo& info() const noexcept;
  const std::string& source() const noexcept;

  /// The n frames that the sampling rule chooses. Decodes each group of pictures only up to the
  /// last chosen frame in it; GIFs and files without timestamps (AVI with B-frames, raw streams)
  /// are decoded from the start. Repeated indices share their pixels. Throws ArgumentError (n < 1,
  /// bounds outside of the video), CancelledError, and MediaError for a source that cannot be read
  /// from the start again (camera, live stream).
  Clip sample(Index n, const SampleOptions& options = {});

  /// The frames with these indices, from 0, in any order, with repetitions. Throws as `sample`;
  /// ArgumentError for indices outside of the video.
  Clip frames_at(std::span<const Index> indices, CancelToken cancel = {});

  /// The next frame at the rate `VideoOptions::fps`; nullopt at the end. After `sample` and
  /// `frames_at` it starts at the first frame again. Throws MediaError for a source without any
  /// frame, a broken stream, and a stream or camera that sends no data within the timeout.
  std::optional<Frame> next();

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
  std::unique_ptr<Source> impl_;
};

}  // namespace pllava
