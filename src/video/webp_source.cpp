#include "webp_source.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>

#include "byte_reader.hpp"
#include "over_white.hpp"
#include "still_image.hpp"

namespace pllava::detail {

namespace {

constexpr std::size_t kFileHeader = 12, kChunkHeader = 8, kFrameHeader = 16;

std::string little_endian(std::uint64_t value, int bytes) {
  std::string text;
  for (int i = 0; i < bytes; ++i) text += static_cast<char>(value >> 8 * i & 0xff);
  return text;
}

/// Calls visit(name, data) for each chunk of a RIFF file or of part of one; ignores a cut last one.
template <class Visit>
void for_each_chunk(Bytes bytes, Visit&& visit) {
  for (std::size_t at = 0; bytes.size() - at >= kChunkHeader;) {
    const auto size = static_cast<std::size_t>(*read_integer(bytes, at + 4, 4, true));
    const auto* const name = reinterpret_cast<const char*>(bytes.data() + at);
    at += kChunkHeader;
    if (size > bytes.size() - at) return;
    visit(std::string_view(name, 4), bytes.subspan(at, size));
    at += std::min(size + size % 2, bytes.size() - at);
  }
}

/// A frame (chunk ANMF) of the animation.
struct AnimationFrame {
  Index x = 0, y = 0, width = 0, height = 0;  ///< on the canvas
  double time = 0;                            ///< seconds
  bool blends = true;                         ///< over the canvas; else it replaces its rectangle
  bool clears = false;                        ///< its rectangle becomes transparent after it
  Bytes picture;                              ///< its chunks ALPH, VP8 and VP8L

  /// The picture as a WebP file.
  std::string file() const {
    std::string chunks;
    if (has(picture, 0, "ALPH")) {
      constexpr int kAlphaFlag = 16;
      chunks = "VP8X" + little_endian(10, 4) + little_endian(kAlphaFlag, 4) +
               little_endian(static_cast<std::uint64_t>(width - 1), 3) +
               little_endian(static_cast<std::uint64_t>(height - 1), 3);
    }
    chunks.append(reinterpret_cast<const char*>(picture.data()), picture.size());
    return "RIFF" + little_endian(chunks.size() + 4, 4) + "WEBP" + chunks;
  }
};

class WebpSource final : public Video::Source {
 public:
  WebpSource(std::string name, const VideoOptions& options,
             std::shared_ptr<const std::vector<std::byte>> file)
      : Source(std::move(name), options), file_(std::move(file)) {
    read_frames();
    info_.codec = "webp";
    info_.frame_count = static_cast<Index>(frames_.size());
    info_.fps = static_cast<double>(frames_.size()) / info_.duration;
    canvas_.resize(static_cast<std::size_t>(info_.width * info_.height * 4));
  }

  Index decoded_frames() const noexcept override { return decoded_; }

  void build_index(const CancelToken&) override {}

  std::vector<Index> choose(Index n, const SampleOptions& options) const override {
    std::vector<double> times;
    times.reserve(frames_.size());
    for (const AnimationFrame& frame : frames_) times.push_back(frame.time);
    return sample_indices(options.rule, {times, info_.duration}, n, info_.fps, options.bounds);
  }

  bool fetch(const std::vector<Index>& indices, const FrameTransform& transform,
             const CancelToken& cancel, std::vector<Frame>& frames) override {
    for (const Index i : indices) {
      draw(i, cancel);
      frames.push_back(transformed(shown(), transform));
    }
    rewind();
    return true;
  }

  std::optional<Frame> next(const CancelToken& cancel) override {
    cancel.check("reading of " + name_);
    while (drawn_ < info_.frame_count) {
      draw(drawn_, options_.cancel);
      if (rate_filter_.select(frames_[static_cast<std::size_t>(drawn_ - 1)].time)) return shown();
    }
    return std::nullopt;
  }

  void rewind() override {
    drawn_ = 0;
    rate_filter_.reset();
  }

 private:
  void read_frames() {
    const Bytes file = *file_;
    const auto canvas = file.subspan(kFileHeader + kChunkHeader);
    info_.width = integer(canvas, 4) + 1;
    info_.height = integer(canvas, 7) + 1;
    if (info_.width > options_.max_pixels / info_.height)
      fail("frames of " + std::to_string(info_.width) + "x" + std::to_string(info_.height) +
           " pixels; the limit is " + std::to_string(options_.max_pixels) + " in all");
    for_each_chunk(file.subspan(kFileHeader), [&](std::string_view chunk, Bytes data) {
      if (chunk == "ANMF") add_frame(data);
    });
    if (frames_.empty()) fail("is an animated WebP without a frame");
  }

  void add_frame(Bytes data) {
    if (data.size() < kFrameHeader) fail("frame " + std::to_string(frames_.size()) + " is cut");
    AnimationFrame frame;
    frame.x = 2 * integer(data, 0);
    frame.y = 2 * integer(data, 3);
    frame.width = integer(data, 6) + 1;
    frame.height = integer(data, 9) + 1;
    frame.time = info_.duration;
    const auto flags = static_cast<unsigned>(data[15]);
    frame.blends = (flags & 2u) == 0;
    frame.clears = (flags & 1u) != 0;
    frame.picture = data.subspan(kFrameHeader);
    if (frame.x + frame.width > info_.width || frame.y + frame.height > info_.height)
      fail("frame " + std::to_string(frames_.size()) + " is outside of the canvas");
    // Browsers show frames of up to 10 ms for 100 ms, as animations without a speed have them.
    const Index milliseconds = integer(data, 12);
    info_.duration += milliseconds <= 10 ? 0.1 : static_cast<double>(milliseconds) / 1000;
    frames_.push_back(frame);
  }

  /// The integer of 24 bits at `at`.
  Index integer(Bytes data, std::size_t at) const {
    const auto value = read_integer(data, at, 3, true);
    if (!value) fail("the animated WebP is cut");
    return static_cast<Index>(*value);
  }

  /// Draws all frames up to this one on the canvas.
  void draw(Index last, const CancelToken& cancel) {
    if (last < drawn_) drawn_ = 0;
    while (drawn_ <= last) {
      cancel.check("reading of " + name_);
      options_.cancel.check("reading of " + name_);
      if (drawn_ == 0)
        std::fill(canvas_.begin(), canvas_.end(), std::uint8_t{0});
      else if (const AnimationFrame& before = frames_[static_cast<std::size_t>(drawn_ - 1)];
               before.clears)
        for (Index y = before.y; y < before.y + before.height; ++y)
          std::memset(pixel(before.x, y), 0, static_cast<std::size_t>(before.width) * 4);
      compose(frames_[static_cast<std::size_t>(drawn_)]);
      ++drawn_;
    }
  }

  void compose(const AnimationFrame& frame) {
    const std::string file = frame.file();
    const auto decoded =
        decode_still_image(std::as_bytes(std::span(file)), AV_CODEC_ID_WEBP,
                           name_ + " (frame " + std::to_string(drawn_) + ")", options_.max_pixels);
    if (decoded->width != frame.width || decoded->height != frame.height)
      fail("frame " + std::to_string(drawn_) + " has another size than its picture");
    ++decoded_;
    std::vector<std::uint8_t> rgba(static_cast<std::size_t>(frame.width * frame.height * 4) +
                                   AV_INPUT_BUFFER_PADDING_SIZE);
    scaler_.reset(sws_getCachedContext(scaler_.release(), decoded->width, decoded->height,
                                       static_cast<AVPixelFormat>(decoded->format), decoded->width,
                                       decoded->height, AV_PIX_FMT_RGBA, SWS_BICUBIC, nullptr,
                                       nullptr, nullptr));
    std::uint8_t* planes[] = {rgba.data(), nullptr, nullptr, nullptr};
    const int strides[] = {static_cast<int>(frame.width * 4), 0, 0, 0};
    if (!scaler_ || sws_scale(scaler_.get(), decoded->data, decoded->linesize, 0, decoded->height,
                              planes, strides) <= 0)
      fail("a frame cannot be converted to RGB");
    for (Index y = 0; y < frame.height; ++y) {
      const std::uint8_t* from = rgba.data() + y * frame.width * 4;
      std::uint8_t* to = pixel(frame.x, frame.y + y);
      if (!frame.blends)
        std::memcpy(to, from, static_cast<std::size_t>(frame.width) * 4);
      else
        for (Index x = 0; x < frame.width; ++x) blend(to + 4 * x, from + 4 * x);
    }
  }

  /// `from` over `to`: RGBA, not premultiplied, with the arithmetic of libwebp.
  static void blend(std::uint8_t* to, const std::uint8_t* from) {
    const unsigned above = from[3];
    if (above == 0) return;
    if (above == 255) {
      std::memcpy(to, from, 4);
      return;
    }
    const unsigned below = to[3] * (256 - above) >> 8, alpha = above + below;
    const unsigned scale = (1u << 24) / alpha;
    for (int c = 0; c < 3; ++c)
      to[c] = static_cast<std::uint8_t>((from[c] * above + to[c] * below) * scale >> 24);
    to[3] = static_cast<std::uint8_t>(alpha);
  }

  std::uint8_t* pixel(Index x, Index y) { return canvas_.data() + (y * info_.width + x) * 4; }

  /// The frame that was drawn last.
  Frame shown() const {
    Frame frame = over_white(canvas_.data(), info_.width, info_.height, info_.width * 4);
    frame.index = drawn_ - 1;
    frame.time = frames_[static_cast<std::size_t>(frame.index)].time;
    return frame;
  }

  std::shared_ptr<const std::vector<std::byte>> file_;
  std::vector<AnimationFrame> frames_;
  std::vector<std::uint8_t> canvas_;  // RGBA
  FfmpegHandle<SwsContext> scaler_;
  Index drawn_ = 0;  // frames on the canvas
  Index decoded_ = 0;
};

}  // namespace

std::unique_ptr<Video::Source> make_webp_source(
    std::string name, const VideoOptions& options,
    std::shared_ptr<const std::vector<std::byte>> file) {
  return std::make_unique<WebpSource>(std::move(name), options, std::move(file));
}

}  // namespace pllava::detail
