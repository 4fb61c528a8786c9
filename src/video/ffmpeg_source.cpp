#include "ffmpeg_source.hpp"

#include <exception>

#include "frame_converter.hpp"
#include "frame_decoder.hpp"
#include "orientation.hpp"

namespace pllava::detail {

namespace {

class FfmpegSource final : public Video::Source {
 public:
  FfmpegSource(std::string name, const VideoOptions& options, MediaInput::Kind kind,
               std::string address)
      : Source(std::move(name), options),
        input_{.name = name_, .kind = kind, .address = std::move(address), .options = options},
        decoder_(input_),
        orientation_(Orientation::of(decoder_.demuxer().stream())) {
    describe();
    if (kind == MediaInput::Kind::file && options_.fps == 0.0 && decoder_.seekable())
      build_index({});
  }

  Index decoded_frames() const noexcept override { return decoder_.decoded_frames(); }

  void build_index(const CancelToken& cancel) override {
    if (lookup_ != Lookup::none) return;
    if (!decoder_.seekable())
      fail("cannot be read from the start again; iterate over its frames instead of sampling");
    const ReadScope scope(*this, cancel);
    decoder_.restart();
    index_ = &decoder_.read_index();
    set_frame_count(index_->frame_count());
    lookup_ = index_->has_timestamps() ? Lookup::by_packet : Lookup::by_count;
  }

  std::vector<Index> choose(Index n, const SampleOptions& options) const override {
    return sample_indices(options.rule, info_.frame_count, n, info_.fps, options.bounds);
  }

  bool fetch(const std::vector<Index>& indices, const CancelToken& cancel,
             std::vector<Frame>& frames) override {
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
        count_by_decoding();
        return false;
      }
      frames.push_back(convert(i));
      last_packet = packet;
    }
    return true;
  }

  std::optional<Frame> next() override {
    const ReadScope scope(*this, {});
    if (iteration_ == Iteration::none) {
      if (decoder_.seekable()) decoder_.restart();
      iteration_ = Iteration::running;
      rate_filter_.reset();
    }
    if (iteration_ == Iteration::ended) return std::nullopt;
    while (decoder_.next()) {
      const Index number = decoder_.frames() - 1;
      if (rate_filter_.select(time_of(number))) return convert(number);
    }
    if (decoder_.frames() == 0) fail("none of its frames can be decoded");
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
      source_.input_.cancel = {};
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
    info_.width = orientation_.transpose ? parameters.height : parameters.width;
    info_.height = orientation_.transpose ? parameters.width : parameters.height;
    for (const AVRational rate : {stream.avg_frame_rate, stream.r_frame_rate})
      if (info_.fps == 0.0 && rate.num > 0 && rate.den > 0) info_.fps = av_q2d(rate);
    info_.duration = decoder_.demuxer().duration();
    info_.codec = avcodec_get_name(parameters.codec_id);
    info_.rotation = orientation_.degrees();
  }

  void set_frame_count(Index count) {
    info_.frame_count = count;
    if (info_.duration == 0.0 && info_.fps > 0.0)
      info_.duration = static_cast<double>(count) / info_.fps;
  }

  /// For damaged files, where not every packet decodes to a frame: numbers the frames that decode.
  void count_by_decoding() {
    if (lookup_ == Lookup::by_decoded_count)
      fail("decoding it twice gives different numbers of frames");
    decoder_.restart();
    while (decoder_.next()) {
    }
    if (decoder_.frames() == 0) fail("none of its frames can be decoded");
    set_frame_count(decoder_.frames());
    lookup_ = Lookup::by_decoded_count;
    decoder_.restart();
  }

  /// Time in seconds of the frame that was decoded last.
  double time_of(Index number) const {
    const std::int64_t start = lookup_ == Lookup::by_packet
                                   ? index_->packet(index_->packet_of(0)).pts
                                   : decoder_.first_pts();
    const std::int64_t now = decoder_.pts();
    if (now != AV_NOPTS_VALUE && start != AV_NOPTS_VALUE)
      return static_cast<double>(now - start) * av_q2d(decoder_.demuxer().stream().time_base);
    return info_.fps > 0.0 ? static_cast<double>(number) / info_.fps : 0.0;
  }

  /// The frame that was decoded last.
  Frame convert(Index number) {
    Frame frame = converter_.to_rgb(decoder_.frame(), orientation_, name_);
    frame.index = number;
    frame.time = time_of(number);
    return frame;
  }

  MediaInput input_;
  FrameDecoder decoder_;
  FrameConverter converter_;
  Orientation orientation_;
  const PacketIndex* index_ = nullptr;  // owned by decoder_
  Lookup lookup_ = Lookup::none;
  Iteration iteration_ = Iteration::none;
};

}  // namespace

std::unique_ptr<Video::Source> make_ffmpeg_source(std::string name, const VideoOptions& options,
                                                  MediaInput::Kind kind, std::string address) {
  return std::make_unique<FfmpegSource>(std::move(name), options, kind, std::move(address));
}

}  // namespace pllava::detail
