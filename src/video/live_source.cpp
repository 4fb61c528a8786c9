#include "live_source.hpp"

#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "decoded_source.hpp"
#include "live_reader.hpp"

namespace pllava::detail {

namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// While it lives, the reader drops no frames.
class KeepsLate {
 public:
  KeepsLate(std::optional<LiveReader>& reader, bool drops_after)
      : reader_(reader), drops_after_(drops_after) {
    reader_->set_drops_late(false);
  }
  ~KeepsLate() {
    if (reader_) reader_->set_drops_late(drops_after_);
  }
  KeepsLate(const KeepsLate&) = delete;
  KeepsLate& operator=(const KeepsLate&) = delete;

 private:
  std::optional<LiveReader>& reader_;
  bool drops_after_;
};

class LiveSource final : public DecodedSource {
 public:
  /// A source that sends in real time is read from now on, so that no frame waits on the way.
  LiveSource(std::unique_ptr<MediaInput> input, std::unique_ptr<FrameDecoder> decoder)
      : DecodedSource(std::move(input), std::move(decoder)) {
    if (decoder_->demuxer().sends_in_real_time()) start_reader();
  }

  Index decoded_frames() const noexcept override { return decoded_; }

  void build_index(const CancelToken&) override {
    fail("cannot be read from the start again; iterate over its frames instead of sampling");
  }
  std::vector<Index> choose(Index, const SampleOptions&) const override { return {}; }
  bool fetch(const std::vector<Index>&, const FrameTransform&, const CancelToken&,
             std::vector<Frame>&) override {
    return true;
  }

  std::vector<Frame> take(Index n, const SampleOptions& options) override {
    std::vector<Frame> frames;
    std::optional<double> start;
    const auto instant = [&] {  // of the next frame of the clip
      return *start + options.live_seconds * (static_cast<double>(frames.size()) + 0.5) /
                          static_cast<double>(n);
    };
    Frame shown;
    start_reader();
    const KeepsLate keeps_late(reader_, options_.drop_late_frames);
    while (static_cast<Index>(frames.size()) < n) {
      const std::optional<LiveFrame> next = read(options.cancel);
      if (!next) {
        if (shown.data == nullptr) fail("the stream has ended");
        const Index missing = n - static_cast<Index>(frames.size());
        info_.warnings.push_back("the stream ended early; " + std::to_string(missing) + " of " +
                                 std::to_string(n) + " frames repeat its last frame");
        frames.resize(static_cast<std::size_t>(n), shown);
        break;
      }
      if (!start) start = next->time;
      while (shown.data != nullptr && static_cast<Index>(frames.size()) < n &&
             instant() < next->time)
        frames.push_back(shown);
      shown = transformed(convert(*next->decoded, next->number, next->time), options.transform);
    }
    return frames;
  }

  std::optional<Frame> next(const CancelToken& cancel) override {
    const std::optional<LiveFrame> next = read(cancel);
    if (next) age_ = seconds_since(next->arrival);
    if (next) return convert(*next->decoded, next->number, next->time);
    if (!end_is_reported_) {
      const std::string end =
          input_->kind == MediaInput::Kind::growing
              ? "the file has not grown for " + seconds_text(options_.timeout) + ", and ends after "
              : "the sender ended the stream after ";
      info_.warnings.push_back(end + std::to_string(stats().received) + " frames");
    }
    end_is_reported_ = true;
    return std::nullopt;
  }

  void rewind() override {}

  SourceStats stats() const override {
    const LiveCounts now = reader_ ? reader_->counts() : LiveCounts{};
    return {.received = earlier_.arrived + now.arrived - earlier_.damaged - now.damaged,
            .delivered = delivered_,
            .dropped = earlier_.late + now.late,
            .damaged = earlier_.damaged + now.damaged,
            .reconnects = earlier_.reconnects + now.reconnects,
            .age = age_,
            .connected = now.connected};
  }

 private:
  void start_reader() {
    if (reader_) return;
    decoder_->ensure_open();
    reader_.emplace(*input_, *decoder_);
  }

  std::optional<LiveFrame> read(const CancelToken& cancel) {
    start_reader();
    try {
      std::optional<LiveFrame> frame = reader_->next(cancel);
      update_counts();
      return frame;
    } catch (const CancelledError&) {
      if (!options_.cancel.cancelled()) throw;  // this call is cancelled, the source goes on
      close();
      throw;
    } catch (...) {
      close();
      throw;
    }
  }

  /// The next call opens the source again.
  void close() {
    update_counts();
    const LiveCounts counts = reader_->counts();
    earlier_.arrived += counts.arrived, earlier_.decoded += counts.decoded;
    earlier_.damaged += counts.damaged;
    earlier_.late += counts.late, earlier_.reconnects += counts.reconnects;
    reader_.reset();
    decoder_->invalidate();
    end_is_reported_ = false;
  }

  void update_counts() {
    const LiveCounts counts = reader_->counts();
    decoded_ = earlier_.decoded + counts.decoded;
    info_.skipped_frames = earlier_.damaged + counts.damaged;
    info_.late_frames = earlier_.late + counts.late;
  }

  LiveCounts earlier_;  // of readers before this one
  Index decoded_ = 0;
  double age_ = 0;  // of the frame that was delivered last
  bool end_is_reported_ = false;
  std::optional<LiveReader> reader_;  // destroyed before the decoder, which the base class owns
};

}  // namespace

std::unique_ptr<Video::Source> make_live_source(std::unique_ptr<MediaInput> input,
                                                std::unique_ptr<FrameDecoder> decoder) {
  return std::make_unique<LiveSource>(std::move(input), std::move(decoder));
}

}  // namespace pllava::detail
