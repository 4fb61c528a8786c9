// Videos, picture directories, cameras and streams as frames. Part of the component video; decoding
// is FFmpeg's, whose types do not appear here.
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
  /// Frames a second that iteration gives; 0 gives all. A file opened with a rate is not read
  /// through at opening, so `VideoInfo::frame_count` stays 0 until `sample` or `frames_at` is used.
  double fps = 0.0;
  int threads = 2;                       ///< of the decoder; pictures do not depend on it
  Index max_pixels = kDefaultMaxPixels;  ///< larger frames are refused with MediaError
  double timeout = 30.0;  ///< seconds without data after which a stream or camera fails
  /// FFmpeg logs to stderr through one level for the whole process. True: the first Video sets it
  /// to silent, if the program has left it at FFmpeg's default. False: the level is not touched.
  bool silence_ffmpeg = true;
};

struct VideoInfo {
  Index width = 0;  ///< of the first frame, after rotation
  Index height = 0;
  double fps = 0.0;  ///< average rate (avg_frame_rate); 3 for picture directories; 0 if unknown
  Index frame_count = 0;  ///< frames in presentation order; 0 if not known (camera, stream)
  double duration = 0.0;  ///< seconds, 0 if unknown
  std::string codec;      ///< FFmpeg's name, "images" for picture files
  int rotation = 0;       ///< degrees clockwise that the file asks for: 0, 90, 180 or 270; applied
};

struct SampleOptions {
  SamplingRule rule = SamplingRule::eval;
  std::optional<TimeRange> bounds = {};  ///< seconds; only with `eval`
  CancelToken cancel = {};               ///< stops the call with CancelledError
};

/// A source of frames:
/// - a video file of any container and codec that FFmpeg has. GIFs too, where the reference uses
///   other readers: here a GIF is a video with its own timing, its background is white;
/// - a picture (JPEG, PNG, BMP, PNM): a video of one frame;
/// - a directory of pictures, or a pattern like "frames/%05d.jpg": in the order of the numbers in
///   their names, sampled as by the reference's read_frame: 3 a second, numbered from 1;
/// - a URL ("scheme://..."), where nothing is read ahead until frames are sampled;
/// - a Linux camera ("/dev/video0"), in builds with FFmpeg's libavdevice.
///
/// Frames are RGB of the native size, in presentation order, exact to the frame however the file is
/// built (B-frames, variable rate, edit lists, missing timestamps). Rotation and mirroring by the
/// container's display matrix are applied; pixel aspect is ignored. Colours are FFmpeg's default
/// conversion with the file's matrix (BT.709 if tagged, BT.601 if untagged) and range.
///
/// Frames are counted and numbered as the reference's reader (decord) does it, by packets. Packets
/// that an edit list hides count too: `frame_count` may exceed what iteration shows by those few,
/// and in their group of pictures the frames after them move up.
///
/// A local file cannot make the library read anything else: playlists are refused, and only the
/// file itself is opened. Damaged files give the frames that decode; MediaError if none does.
///
/// Movable; one thread at a time. Errors are MediaError naming the source, if not stated otherwise.
class Video {
 public:
  /// Opens a source. Throws MediaError: missing or empty file, no video in it, too large a picture.
  /// Throws ArgumentError for options without sense.
  static Video open(const std::string& source, const VideoOptions& options = {});

  Video(Video&&) noexcept;
  Video& operator=(Video&&) noexcept;
  ~Video();

  const VideoInfo& info() const noexcept;
  const std::string& source() const noexcept;

  /// The n frames that the rule chooses, decoding no more than what these need: the groups of
  /// pictures up to each of them; from the start of the file where it has no timestamps (AVI with
  /// B-frames, raw streams) and in GIFs. Repeated indices share their pixels. Throws ArgumentError
  /// (n < 1, bounds outside of the video), CancelledError, and MediaError for a source that cannot
  /// be read from the start again (camera, live stream).
  Clip sample(Index n, const SampleOptions& options = {});

  /// The frames of these numbers, from 0, in any order, with repetitions. Throws as `sample`;
  /// ArgumentError for numbers outside of the video.
  Clip frames_at(std::span<const Index> indices, CancelToken cancel = {});

  /// The next frame in order, thinned to `VideoOptions::fps`; nothing at the end. After `sample` or
  /// `frames_at` that is the first one again. Throws MediaError for a source without a single
  /// frame, a stream that breaks off and a camera that gives nothing within the timeout.
  std::optional<Frame> next();

  /// Back to the first frame for `next`. Cameras and live streams go on where they are.
  void rewind();

  /// Frames that were decoded since opening, wanted or not: the measure of a sampler's economy.
  Index decoded_frames() const noexcept;

  /// Single-pass iteration with `next`, from the start.
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

  /// How one kind of source gives its frames.
  class Source;

 private:
  explicit Video(std::unique_ptr<Source> source);
  std::unique_ptr<Source> impl_;
};

}  // namespace pllava
