#include "ffmpeg_source.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <exception>
#include <optional>
#include <utility>
#include <vector>

#include "frame_converter.hpp"
#include "frame_decoder.hpp"
#include "orientation.hpp"
#include "timeline.hpp"

namespace pllava::detail {

namespace {

class FfmpegSource final : public Video::Source {
 public:
  FfmpegSource(const VideoOptions& options, MediaInput input)
      : Source(input.name, options),
        input_(std::move(input)),
        decoder_(input_),
        orientation_(options.apply_orientation ? Orientation::of(decoder_.demuxer().stream())
                                               : Orientation{}) {
    describe();
    if (!input_.is_remote() && options_.fps == 0.0 && decoder_.seekable()) build_index({});
  }

  Index decoded_frames() const noexcept override { return decoder_.decoded_frames(); }

  bool seekable() const noexcept override { return decoder_.seekable(); }

  std::vector<Frame> take(Index n, const SampleOptions& options) override {
    const ReadScope scope(*this, options.cancel);
    start_iteration();
    std::vector<Frame> frames;
    std::optional<double> start;
    const auto instant = [&] {  // of the next frame of the clip
      return *start + options.live_seconds * (static_cast<double>(frames.size()) + 0.5) /
                          static_cast<double>(n);
    };
    Frame shown;
    while (static_cast<Index>(frames.size()) < n && iteration_ == Iteration::running) {
      if (!next_intact()) {
        iteration_ = Iteration::ended;
        warn_of_early_end(n - static_cast<Index>(frames.size()), n);
        break;
      }
      const double time = next_time();
      if (!start) start = time;
      while (shown.data != nullptr && static_cast<Index>(frames.size()) < n && instant() < time)
        frames.push_back(shown);
      shown = transformed(convert(decoder_.frames() - 1, time), options.transform);
    }
    if (shown.data == nullptr && frames.empty()) fail("the stream ended before its first frame");
    while (static_cast<Index>(frames.size()) < n) frames.push_back(shown);
    return frames;
  }

  void build_index(const CancelToken& cancel) override {
    if (lookup_ != Lookup::none) return;
    if (!decoder_.seekable())
      fail("cannot be read from the start again; iterate over its frames instead of sampling");
    const ReadScope scope(*this, cancel);
    decoder_.restart();
    index_ = &decoder_.read_index();
    set_times(index_->times());
    lookup_ = index_->has_timestamps() ? Lookup::by_packet : Lookup::by_count;
  }

  std::vector<Index> choose(Index n, const SampleOptions& options) const override {
    if (options_.numbering == FrameNumbering::decord)
      return sample_indices(options.rule, info_.frame_count, n, info_.fps, options.bounds);
    return sample_indices(options.rule, {times_, end_time()}, n, info_.fps, options.bounds);
  }

  bool fetch(const std::vector<Index>& indices, const FrameTransform& transform,
             const CancelToken& cancel, std::vector<Frame>& frames) override {
    const ReadScope scope(*this, cancel);
    iteration_ = Iteration::none;
    Index last_packet = -1;
    for (const Index i : indices) {
      const Index packet = lookup_ == Lookup::by_packet ? index_->packet_of(i) : -1;
      if (packet >= 0 && packet == last_packet) {
        frames.push_back(frames.back());
        frames.back().index = i;
        continue;
      }
      if (!(packet >= 0 ? decoder_.decode_packet(packet) : decoder_.decode_nth(i))) {
        if (!index_again()) count_by_decoding();
        return false;
      }
      if (index_again()) return false;
      frames.push_back(transformed(convert(i, times_[static_cast<std::size_t>(i)]), transform));
      last_packet = packet;
    }
    return true;
  }

  std::optional<Frame> next() override {
    const ReadScope scope(*this, {});
    start_iteration();
    if (iteration_ == Iteration::ended) return std::nullopt;
    while (next_intact()) {
      const Index number = decoder_.frames() - 1;
      const double time = next_time();
      if (rate_filter_.select(time)) return convert(number, time);
    }
    if (decoder_.frames() == 0) fail("none of its frames can be decoded");
    const std::string end =
        "the sender ended the stream after " + std::to_string(decoder_.frames()) + " frames";
    if (decoder_.demuxer().is_endless()) fail(end);
    if (!decoder_.seekable()) info_.warnings.push_back(end);
    iteration_ = Iteration::ended;
    return std::nullopt;
  }

  void rewind() override {
    if (decoder_.seekable()) iteration_ = Iteration::none;
  }

 private:
  /// How the frame with a given number is found.
  enum class Lookup {
    none,              ///< the file is not indexed yet
    by_packet,         ///< by the timestamp of its packet
    by_count,          ///< by counting decoded frames from the start
    by_decoded_count,  ///< like by_count, in a damaged file whose frame_count comes from decoding
                       ///< it
  };
  enum class Iteration { none, running, ended };

  /// One call that reads. Passes the call's cancel token to FFmpeg's callback. An exception can
  /// interrupt the demuxer between any two packets, so the next call reopens the source.
  class ReadScope {
   public:
    ReadScope(FfmpegSource& source, const CancelToken& cancel) : source_(source) {
      source_.input_.cancel = cancel;
      source_.decoder_.ensure_open();
    }
    ~ReadScope() {
      source_.input_.cancel = {};  // VideoOptions::cancel remains
      if (std::uncaught_exceptions() == exceptions_) return;
      source_.decoder_.invalidate();
      source_.iteration_ = Iteration::none;
    }
    ReadScope(const ReadScope&) = delete;
    ReadScope& operator=(const ReadScope&) = delete;

   private:
    FfmpegSource& source_;
    int exceptions_ = std::uncaught_exceptions();
  };

  void describe() {
    const AVStream& stream = decoder_.demuxer().stream();
    const AVCodecParameters& parameters = *stream.codecpar;
    info_.pixel_aspect = pixel_aspect(stream.sample_aspect_ratio, parameters.sample_aspect_ratio);
    info_.width = display_width(parameters.width, parameters.height);
    info_.height = parameters.height;
    if (orientation_.transpose) std::swap(info_.width, info_.height);
    info_.fps = decoder_.demuxer().frame_rate();
    info_.duration = decoder_.demuxer().duration();
    info_.codec = avcodec_get_name(parameters.codec_id);
    info_.rotation = Orientation::of(stream).degrees();
    if (const std::string others = decoder_.demuxer().other_video_streams(); !others.empty())
      info_.warnings.push_back(others);
  }

  /// The index: when each frame is presented.
  void set_times(std::vector<double> times) {
    times_ = std::move(times);
    info_.frame_count = static_cast<Index>(times_.size());
    correct_rate();
    info_.duration = end_time();
  }

  /// Containers can count fields or ticks as frames (H.264 in AVI): a rate that the times
  /// contradict is replaced by theirs.
  void correct_rate() {
    constexpr double kTolerance = 1.5;
    const double span = times_.empty() ? 0.0 : times_.back() - times_.front();
    if (times_.size() < 3 || span <= 0.0) return;
    const double measured = static_cast<double>(times_.size() - 1) / span;
    if (info_.fps > measured * kTolerance || info_.fps * kTolerance < measured)
      info_.fps = measured;
  }

  /// When the last frame ends.
  double end_time() const {
    return times_.back() +
           (info_.fps > 0.0 ? 1.0 / info_.fps : decoder_.demuxer().frame_interval());
  }

  void start_iteration() {
    if (iteration_ != Iteration::none) return;
    if (decoder_.seekable()) decoder_.restart();
    iteration_ = Iteration::running;
    rate_filter_.reset();
    timeline_ = new_timeline();
    first_arrival_.reset();
  }

  void warn_of_early_end(Index missing, Index n) {
    info_.warnings.push_back("the stream ended early; " + std::to_string(missing) + " of " +
                             std::to_string(n) + " frames repeat its last frame");
  }

  /// Decodes the next frame. Of a live source, leaves out damaged frames and those after them,
  /// which refer to them, up to the next keyframe.
  bool next_intact() {
    while (decoder_.next()) {
      if (decoder_.seekable()) return true;
      const AVFrame& frame = decoder_.frame();
      const bool damaged =
          (frame.flags & AV_FRAME_FLAG_CORRUPT) != 0 || frame.decode_error_flags != 0;
      is_damaged_ = damaged || (is_damaged_ && frame.pict_type != AV_PICTURE_TYPE_I);
      if (!is_damaged_) return true;
      ++info_.skipped_frames;
    }
    return false;
  }

  /// Time of the frame that was decoded last, in the iteration.
  double next_time() {
    if (!decoder_.demuxer().lacks_clock()) return timeline_->next(decoder_.pts());
    const auto now = std::chrono::steady_clock::now();
    if (!first_arrival_) first_arrival_ = now;
    return std::chrono::duration<double>(now - *first_arrival_).count();
  }

  Timeline new_timeline() const {
    return {av_q2d(decoder_.demuxer().stream().time_base), decoder_.demuxer().frame_interval(),
            decoder_.demuxer().clock_may_jump()};
  }

  /// If the container's index turned out to be wrong, indexes the file by its packets.
  bool index_again() {
    if (!decoder_.index_is_wrong()) return false;
    index_ = &decoder_.read_index_from_packets();
    set_times(index_->times());
    lookup_ = index_->has_timestamps() ? Lookup::by_packet : Lookup::by_count;
    info_.warnings.push_back("the index of the container is wrong; the whole file was read");
    return true;
  }

  /// For damaged files, where not every packet decodes to a frame: numbers the frames that decode.
  void count_by_decoding() {
    if (lookup_ == Lookup::by_decoded_count)
      fail("decoding it twice gives different numbers of frames");
    decoder_.restart();
    Timeline timeline = new_timeline();
    std::vector<double> times;
    while (decoder_.next()) times.push_back(timeline.next(decoder_.pts()));
    if (times.empty()) fail("none of its frames can be decoded");
    const auto count = static_cast<Index>(times.size());
    if (count < info_.frame_count)
      info_.warnings.push_back(std::to_string(info_.frame_count - count) + " of " +
                               std::to_string(info_.frame_count) + " frames cannot be decoded");
    set_times(std::move(times));
    lookup_ = Lookup::by_decoded_count;
    decoder_.restart();
  }

  /// The first of the aspect ratios that is given; 1 if none is, or it is not plausible.
  static double pixel_aspect(const AVRational& first, const AVRational& second) {
    constexpr double kMost = 16.0;
    const AVRational& given = first.num > 0 && first.den > 0 ? first : second;
    if (given.num <= 0 || given.den <= 0) return 1.0;
    const double aspect = av_q2d(given);
    return aspect > 1.0 / kMost && aspect < kMost ? aspect : 1.0;
  }

  /// Width of a frame of the stream in square pixels, if they are wanted.
  Index display_width(int width, int height) const {
    if (!options_.square_pixels || info_.pixel_aspect == 1.0) return width;
    const Index scaled = std::max<Index>(std::llround(width * info_.pixel_aspect), 1);
    input_.check_size(scaled, height);
    return scaled;
  }

  /// The frame that was decoded last.
  Frame convert(Index number, double time) {
    const AVFrame& decoded = decoder_.frame();
    Frame frame = converter_.to_rgb(decoded, orientation_, name_,
                                    static_cast<int>(display_width(decoded.width, decoded.height)));
    frame.index = number;
    frame.time = time;
    return frame;
  }

  MediaInput input_;
  FrameDecoder decoder_;
  FrameConverter converter_;
  Orientation orientation_;
  const PacketIndex* index_ = nullptr;  // owned by decoder_
  std::vector<double> times_;           // of the frames of an indexed file
  std::optional<Timeline> timeline_;    // of the iteration
  std::optional<std::chrono::steady_clock::time_point> first_arrival_;
  bool is_damaged_ = false;  // frames of a live source, since a damaged one
  Lookup lookup_ = Lookup::none;
  Iteration iteration_ = Iteration::none;
};

}  // namespace

std::unique_ptr<Video::Source> make_ffmpeg_source(std::string name, const VideoOptions& options,
                                                  MediaInput::Kind kind, std::string address) {
  return std::make_unique<FfmpegSource>(options, MediaInput{.name = std::move(name),
                                                            .kind = kind,
                                                            .address = std::move(address),
                                                            .options = options});
}

std::unique_ptr<Video::Source> make_ffmpeg_source(
    std::string name, const VideoOptions& options,
    std::shared_ptr<const std::vector<std::byte>> bytes) {
  return std::make_unique<FfmpegSource>(options, MediaInput{.name = std::move(name),
                                                            .kind = MediaInput::Kind::memory,
                                                            .address = {},
                                                            .options = options,
                                                            .bytes = std::move(bytes)});
}

}  // namespace pllava::detail
