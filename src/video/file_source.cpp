#include "file_source.hpp"

#include <exception>
#include <optional>
#include <utility>
#include <vector>

#include "decoded_source.hpp"

namespace pllava::detail {

namespace {

class FileSource final : public DecodedSource {
 public:
  FileSource(std::unique_ptr<MediaInput> input, std::unique_ptr<FrameDecoder> decoder)
      : DecodedSource(std::move(input), std::move(decoder)) {
    if (!input_->may_wait() && options_.fps == 0.0) build_index({});
  }

  Index decoded_frames() const noexcept override { return decoder_->decoded_frames(); }

  void build_index(const CancelToken& cancel) override {
    if (lookup_ != Lookup::none) return;
    const ReadScope scope(*this, cancel);
    decoder_->restart();
    index_ = &decoder_->read_index();
    set_times(index_->times());
    lookup_ = index_->has_timestamps() ? Lookup::by_packet : Lookup::by_count;
    if (!input_->stream_change.empty()) info_.warnings.push_back(input_->stream_change);
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
      if (!(packet >= 0 ? decoder_->decode_packet(packet) : decoder_->decode_nth(i))) {
        if (!index_again()) count_by_decoding();
        return false;
      }
      if (index_again()) return false;
      frames.push_back(transformed(
          convert(decoder_->frame(), i, times_[static_cast<std::size_t>(i)]), transform));
      last_packet = packet;
    }
    return true;
  }

  std::optional<Frame> next(const CancelToken& cancel) override {
    // A cancelled read would lose the position, so the token is looked at between frames.
    cancel.check("reading of " + name_);
    const ReadScope scope(*this, {});
    start_iteration();
    if (iteration_ == Iteration::ended) return std::nullopt;
    while (decoder_->next()) {
      const Index number = decoder_->frames() - 1;
      const double time = timeline_->next(decoder_->pts());
      if (rate_filter_.select(time)) return convert(decoder_->frame(), number, time);
    }
    if (decoder_->frames() == 0) fail("none of its frames can be decoded");
    iteration_ = Iteration::ended;
    return std::nullopt;
  }

  void rewind() override { iteration_ = Iteration::none; }

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
    ReadScope(FileSource& source, const CancelToken& cancel) : source_(source) {
      source_.input_->cancel = cancel;
      source_.decoder_->ensure_open();
    }
    ~ReadScope() {
      source_.input_->cancel = {};  // VideoOptions::cancel remains
      if (std::uncaught_exceptions() == exceptions_) return;
      source_.decoder_->invalidate();
      source_.iteration_ = Iteration::none;
    }
    ReadScope(const ReadScope&) = delete;
    ReadScope& operator=(const ReadScope&) = delete;

   private:
    FileSource& source_;
    int exceptions_ = std::uncaught_exceptions();
  };

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
           (info_.fps > 0.0 ? 1.0 / info_.fps : decoder_->demuxer().frame_interval());
  }

  void start_iteration() {
    if (iteration_ != Iteration::none) return;
    decoder_->restart();
    iteration_ = Iteration::running;
    rate_filter_.reset();
    timeline_ = new_timeline();
  }

  /// If the container's index turned out to be wrong, indexes the file by its packets.
  bool index_again() {
    if (!decoder_->index_is_wrong()) return false;
    index_ = &decoder_->read_index_from_packets();
    set_times(index_->times());
    lookup_ = index_->has_timestamps() ? Lookup::by_packet : Lookup::by_count;
    info_.warnings.push_back("the index of the container is wrong; the whole file was read");
    return true;
  }

  /// For damaged files, where not every packet decodes to a frame: numbers the frames that decode.
  void count_by_decoding() {
    if (lookup_ == Lookup::by_decoded_count)
      fail("decoding it twice gives different numbers of frames");
    decoder_->restart();
    Timeline timeline = new_timeline();
    std::vector<double> times;
    while (decoder_->next()) times.push_back(timeline.next(decoder_->pts()));
    if (times.empty()) fail("none of its frames can be decoded");
    const auto count = static_cast<Index>(times.size());
    if (count < info_.frame_count)
      info_.warnings.push_back(std::to_string(info_.frame_count - count) + " of " +
                               std::to_string(info_.frame_count) + " frames cannot be decoded");
    set_times(std::move(times));
    lookup_ = Lookup::by_decoded_count;
    decoder_->restart();
  }

  const PacketIndex* index_ = nullptr;  // owned by decoder_
  std::vector<double> times_;           // of the frames of an indexed file
  std::optional<Timeline> timeline_;    // of the iteration
  Lookup lookup_ = Lookup::none;
  Iteration iteration_ = Iteration::none;
};

}  // namespace

std::unique_ptr<Video::Source> make_file_source(std::unique_ptr<MediaInput> input,
                                                std::unique_ptr<FrameDecoder> decoder) {
  return std::make_unique<FileSource>(std::move(input), std::move(decoder));
}

}  // namespace pllava::detail
