// Videos by FFmpeg, and directories of pictures. A video file is demuxed once, without decoding,
// for the timestamps of its packets. Sorted, they are the frames in presentation order, and a frame
// is reached from the last keyframe that precedes it in both orders.
#include <algorithm>
#include <array>
#include <cctype>
#include <chrono>
#include <cmath>
#include <cstring>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <mutex>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "pllava/media/video.hpp"

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/display.h>
#include <libavutil/pixdesc.h>
#include <libswscale/swscale.h>
#if defined(PLLAVA_HAVE_AVDEVICE)
#include <libavdevice/avdevice.h>
#endif
}

namespace pllava {

namespace fs = std::filesystem;

constexpr const char* kExpected = "expected a video, a picture or a directory of pictures";

/// What Video asks of a source.
class Video::Source {
 public:
  Source(std::string name, const VideoOptions& options)
      : name_(std::move(name)), options_(options) {}
  virtual ~Source() = default;
  Source(const Source&) = delete;
  Source& operator=(const Source&) = delete;

  const VideoInfo& info() const noexcept { return info_; }
  const std::string& name() const noexcept { return name_; }
  Index decoded() const noexcept { return decoded_; }

  /// Makes info().frame_count known.
  virtual void index(const std::stop_token& cancel) = 0;
  /// Indices from 0 that the rule chooses.
  virtual std::vector<Index> choose(Index n, const SampleOptions& options) const = 0;
  /// Appends the frames of these ascending, distinct, existing indices. False: damage made
  /// info().frame_count wrong; it is corrected now, choose again.
  virtual bool fetch(const std::vector<Index>& indices, const std::stop_token& cancel,
                     std::vector<Frame>& frames) = 0;
  /// The next frame at options().fps.
  virtual std::optional<Frame> next() = 0;
  virtual void rewind() = 0;

 protected:
  [[noreturn]] void fail(const std::string& problem) const { throw MediaError(name_, problem); }

  /// Whether iteration at options_.fps wants the frame of this time.
  bool due(double time) {
    if (options_.fps <= 0.0) return true;
    if (emitted_ > 0 && time < first_time_ + static_cast<double>(emitted_) / options_.fps - 1e-6)
      return false;
    if (emitted_ == 0) first_time_ = time;
    // After a gap in the source the grid goes on; what fell into the gap is not made up for.
    emitted_ =
        std::max(emitted_ + 1, static_cast<Index>((time - first_time_) * options_.fps + 1e-6) + 1);
    return true;
  }

  std::string name_;
  VideoOptions options_;
  VideoInfo info_;
  Index decoded_ = 0;
  Index emitted_ = 0;  // grid points of options_.fps that have passed
  double first_time_ = 0.0;
};

namespace {

// --- Pictures -----------------------------------------------------------------------------------

/// Orders names by the numbers in them: "frame2" before "frame10".
bool natural_less(const std::string& a, const std::string& b) {
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  std::size_t i = 0;
  std::size_t j = 0;
  while (i < a.size() && j < b.size()) {
    if (digit(a[i]) && digit(b[j])) {
      const auto run = [&](const std::string& s, std::size_t& p) {
        while (p < s.size() && s[p] == '0') ++p;
        const std::size_t begin = p;
        while (p < s.size() && digit(s[p])) ++p;
        return std::string_view(s).substr(begin, p - begin);
      };
      const std::string_view x = run(a, i);
      const std::string_view y = run(b, j);
      if (x.size() != y.size()) return x.size() < y.size();
      if (x != y) return x < y;
    } else {
      if (a[i] != b[j]) return a[i] < b[j];
      ++i;
      ++j;
    }
  }
  const std::size_t rest_a = a.size() - i;
  const std::size_t rest_b = b.size() - j;
  return rest_a != rest_b ? rest_a < rest_b : a < b;
}

std::string lower_extension(const fs::path& path) {
  std::string text = path.extension().string();
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

bool named_like_a_picture(const fs::path& path) {
  const std::string extension = lower_extension(path);
  for (const char* known : {".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm", ".pnm"})
    if (extension == known) return path.filename().string().front() != '.';
  return false;
}

/// The files of `directory` that `wanted` accepts, in natural order of their names.
template <class Wanted>
std::vector<fs::path> list_files(const fs::path& directory, const std::string& name,
                                 Wanted&& wanted) {
  std::vector<fs::path> files;
  std::error_code error;
  fs::directory_iterator it(directory, error);
  for (; !error && it != fs::directory_iterator(); it.increment(error)) {
    std::error_code ignored;
    if (wanted(it->path()) && !it->is_directory(ignored)) files.push_back(it->path());
  }
  if (error) throw MediaError(name, error.message() + "; " + kExpected);
  std::sort(files.begin(), files.end(), [](const fs::path& a, const fs::path& b) {
    return natural_less(a.filename().string(), b.filename().string());
  });
  return files;
}

/// The files that a pattern such as "frames/%05d.jpg" stands for; nothing if it is no pattern.
std::optional<std::vector<fs::path>> match_pattern(const fs::path& pattern,
                                                   const std::string& name) {
  const std::string file = pattern.filename().string();
  const std::size_t begin = file.find('%');
  if (begin == std::string::npos) return std::nullopt;
  std::size_t end = begin + 1;
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  while (end < file.size() && digit(file[end])) ++end;
  if (end == file.size() || file[end] != 'd') return std::nullopt;
  const std::string prefix = file.substr(0, begin);
  const std::string suffix = file.substr(end + 1);
  const fs::path directory = pattern.has_parent_path() ? pattern.parent_path() : fs::path(".");
  return list_files(directory, name, [&](const fs::path& path) {
    const std::string f = path.filename().string();
    return f.size() > prefix.size() + suffix.size() && f.starts_with(prefix) &&
           f.ends_with(suffix) &&
           std::all_of(f.begin() + static_cast<std::ptrdiff_t>(prefix.size()),
                       f.end() - static_cast<std::ptrdiff_t>(suffix.size()), digit);
  });
}

/// One picture file a frame.
class Pictures final : public Video::Source {
 public:
  Pictures(std::string name, const VideoOptions& options, std::vector<fs::path> files)
      : Source(std::move(name), options), files_(std::move(files)) {
    if (files_.empty()) fail("there is no picture in it; expected JPEG, PNG, BMP or PNM files");
    const Frame first = load_image(files_.front(), options_.max_pixels);
    info_.width = first.width;
    info_.height = first.height;
    info_.fps = kPictureDirectoryFps;
    info_.frame_count = static_cast<Index>(files_.size());
    info_.duration = static_cast<double>(info_.frame_count) / info_.fps;
    info_.codec = "pictures";
  }

  void index(const std::stop_token&) override {}

  std::vector<Index> choose(Index n, const SampleOptions& options) const override {
    if (options.rule == SamplingRule::demo)
      return sample_indices(options.rule, info_.frame_count, n, info_.fps, options.bounds);
    std::vector<Index> numbers = picture_numbers(info_.frame_count, n, options.bounds);
    for (Index& number : numbers) --number;
    return numbers;
  }

  bool fetch(const std::vector<Index>& indices, const std::stop_token& cancel,
             std::vector<Frame>& frames) override {
    for (const Index i : indices) {
      if (cancel.stop_requested()) throw CancelledError("reading pictures");
      frames.push_back(load(i));
    }
    return true;
  }

  std::optional<Frame> next() override {
    while (next_ < info_.frame_count) {
      const Index i = next_++;
      if (due(static_cast<double>(i) / info_.fps)) return load(i);
    }
    return std::nullopt;
  }

  void rewind() override { next_ = emitted_ = 0; }

 private:
  Frame load(Index i) {
    Frame frame = load_image(files_[static_cast<std::size_t>(i)], options_.max_pixels);
    ++decoded_;
    frame.index = i;
    frame.time = static_cast<double>(i) / info_.fps;
    return frame;
  }

  std::vector<fs::path> files_;
  Index next_ = 0;
};

// --- FFmpeg -------------------------------------------------------------------------------------

/// Containers that hold their frames themselves. Playlists, scripts and text are not among them.
constexpr const char* kContainers =
    "mov,mp4,matroska,webm,avi,gif,apng,mpegts,mpeg,mpegvideo,flv,ogg,asf,m4v,h264,hevc,h263,av1,"
    "obu,ivf,mjpeg,mjpeg_2000,nut,mxf,dv,rm,swf,wtv,y4m,yuv4mpegpipe,vc1,vc1test,dirac,cavsvideo,"
    "live_flv,3g2,webp_pipe,tiff_pipe,jpegxl_pipe,j2k_pipe,roq,bink,smk,nsv,gxf,amv,mlv,"
    // known, so that the error for a file of sound says that there is no video in it
    "mp3,wav,flac,aac,ac3,aiff,au,caf,w64,amr,eac3,dts,tta,wv,ape,xwma";

constexpr const char* kUrlProtocols =
    "http,https,httpproxy,tls,tcp,udp,udplite,rtp,srtp,rtsp,rtmp,rtmps,rtmpt,rtmpts,srt,crypto";

struct Free {
  void operator()(AVFormatContext* p) const { avformat_close_input(&p); }
  void operator()(AVCodecContext* p) const { avcodec_free_context(&p); }
  void operator()(AVPacket* p) const { av_packet_free(&p); }
  void operator()(AVFrame* p) const { av_frame_free(&p); }
  void operator()(SwsContext* p) const { sws_freeContext(p); }
};
template <class T>
using Handle = std::unique_ptr<T, Free>;

/// AVDictionary whose entries go with it.
struct Dictionary {
  AVDictionary* entries = nullptr;
  Dictionary() = default;
  Dictionary(const Dictionary&) = delete;
  Dictionary& operator=(const Dictionary&) = delete;
  ~Dictionary() { av_dict_free(&entries); }
  void set(const char* key, const std::string& value) {
    av_dict_set(&entries, key, value.c_str(), 0);
  }
};

std::string error_text(int error) {
  char text[AV_ERROR_MAX_STRING_SIZE] = {};
  av_strerror(error, text, sizeof text);
  return text;
}

void silence_ffmpeg() {
  static std::once_flag once;
  std::call_once(once, [] {
    if (av_log_get_level() == AV_LOG_INFO) av_log_set_level(AV_LOG_QUIET);
  });
}

/// How stored pixels are shown: a source pixel (p, q) goes to (p, q), or to (q, p) if `swap`; then
/// columns and rows are counted from the other end where `mirror_x`, `mirror_y` say so.
struct Orientation {
  bool swap = false;
  bool mirror_x = false;
  bool mirror_y = false;

  bool identity() const { return !swap && !mirror_x && !mirror_y; }
  int degrees() const { return swap ? (mirror_x || !mirror_y ? 90 : 270) : mirror_y ? 180 : 0; }
};

Orientation orientation_of(const AVStream* stream) {
  const std::uint8_t* data = nullptr;
#if LIBAVFORMAT_VERSION_MAJOR >= 61
  const AVPacketSideData* side =
      av_packet_side_data_get(stream->codecpar->coded_side_data,
                              stream->codecpar->nb_coded_side_data, AV_PKT_DATA_DISPLAYMATRIX);
  if (side != nullptr && side->size >= 9 * sizeof(std::int32_t)) data = side->data;
#else
  std::size_t size = 0;
  data = av_stream_get_side_data(stream, AV_PKT_DATA_DISPLAYMATRIX, &size);
  if (size < 9 * sizeof(std::int32_t)) data = nullptr;
#endif
  if (data == nullptr) return {};
  std::int32_t m[9];
  std::memcpy(m, data, sizeof m);
  // x' = m0·p + m3·q, y' = m1·p + m4·q. Within one degree of a quarter turn it is one; other
  // angles are left alone.
  const double straight = std::abs(static_cast<double>(m[0])) + std::abs(static_cast<double>(m[4]));
  const double turned = std::abs(static_cast<double>(m[1])) + std::abs(static_cast<double>(m[3]));
  constexpr double kTangent = 0.0175;
  if (turned <= straight * kTangent) return {false, m[0] < 0, m[4] < 0};
  if (straight <= turned * kTangent) return {true, m[3] < 0, m[1] < 0};
  return {};
}

Frame oriented(const Frame& in, Orientation o) {
  const Index width = o.swap ? in.height : in.width;
  const Index height = o.swap ? in.width : in.height;
  std::vector<std::uint8_t> pixels(static_cast<std::size_t>(width * height * 3));
  std::uint8_t* out = pixels.data();
  for (Index y = 0; y < height; ++y)
    for (Index x = 0; x < width; ++x, out += 3) {
      const Index u = o.mirror_x ? width - 1 - x : x;
      const Index v = o.mirror_y ? height - 1 - y : y;
      std::memcpy(out, in.data + (o.swap ? u : v) * in.stride + (o.swap ? v : u) * 3, 3);
    }
  return Frame::own(std::move(pixels), width, height);
}

class Ffmpeg final : public Video::Source {
 public:
  enum class Kind { file, url, device };

  Ffmpeg(std::string name, const VideoOptions& options, Kind kind, std::string address)
      : Source(std::move(name), options), kind_(kind), address_(std::move(address)) {
    open();
    describe();
    if (kind_ == Kind::file && options_.fps == 0.0 && !live_) index({});
  }

  void index(const std::stop_token& cancel) override {
    if (indexed_) return;
    if (live_)
      fail("cannot be read from its start again; iterate over its frames instead of sampling");
    const Call call(*this, cancel);
    restart();
    read_index();
  }

  std::vector<Index> choose(Index n, const SampleOptions& options) const override {
    return sample_indices(options.rule, info_.frame_count, n, info_.fps, options.bounds);
  }

  bool fetch(const std::vector<Index>& indices, const std::stop_token& cancel,
             std::vector<Frame>& frames) override {
    const Call call(*this, cancel);
    iterating_ = false;
    Index last = -1;  // packet of the newest frame
    for (const Index i : indices) {
      const Index packet = by_timestamp_ ? frames_[static_cast<std::size_t>(i)] : -1;
      if (packet >= 0 && packet == last) {
        frames.push_back(frames.back());
        frames.back().index = i;
        continue;
      }
      if (!(by_timestamp_ ? reach_packet(packet) : reach_count(i))) {
        count_by_decoding();
        return false;
      }
      frames.push_back(convert(i));
      last = packet;
    }
    return true;
  }

  std::optional<Frame> next() override {
    const Call call(*this, {});
    if (!iterating_) {
      if (!live_ && !untouched_) restart();
      iterating_ = true;
      ended_ = false;
      emitted_ = 0;
    }
    while (!ended_ && decode()) {
      if (due(time_of(*frame_, shown_ - 1))) return convert(shown_ - 1);
    }
    if (!ended_ && shown_ == 0) fail("no frame of it can be decoded");
    ended_ = true;
    return std::nullopt;
  }

  void rewind() override {
    if (!live_) iterating_ = false;
  }

 private:
  /// A packet of the video stream.
  struct Entry {
    std::int64_t pts = AV_NOPTS_VALUE;
    std::int64_t dts = AV_NOPTS_VALUE;
    Index order = 0;  // in the file
    bool key = false;
    bool hidden = false;  // decoded but not shown: outside of the edit list
  };

  /// A call that reads: shows its cancel token to FFmpeg's callback, and if it throws, which may be
  /// between any two packets, lets the next call open the source anew.
  struct Call {
    Call(Ffmpeg& s, const std::stop_token& token) : source(s) {
      source.cancel_ = token;
      if (!source.opened_) source.open();
    }
    ~Call() {
      source.cancel_ = {};
      if (std::uncaught_exceptions() > exceptions) source.opened_ = source.iterating_ = false;
    }
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;
    Ffmpeg& source;
    int exceptions = std::uncaught_exceptions();
  };

  // --- opening ---

  static int interrupted(void* self) {
    const auto& s = *static_cast<Ffmpeg*>(self);
    return s.cancel_.stop_requested() ||
           (s.kind_ != Kind::file && std::chrono::steady_clock::now() > s.deadline_);
  }

  void extend_deadline() {
    deadline_ = std::chrono::steady_clock::now() +
                std::chrono::duration_cast<std::chrono::steady_clock::duration>(
                    std::chrono::duration<double>(options_.timeout));
  }

  void check_cancelled() const {
    if (cancel_.stop_requested()) throw CancelledError("decoding of " + name_);
  }

  void check_size(Index width, Index height) const {
    if (width < 0 || height < 0 || (height > 0 && width > options_.max_pixels / height))
      fail("frames of " + std::to_string(width) + "x" + std::to_string(height) +
           " pixels; the limit is " + std::to_string(options_.max_pixels) + " in all");
  }

  void open() {
    opened_ = false;
    codec_.reset();
    input_.reset();
    AVFormatContext* context = avformat_alloc_context();
    if (context == nullptr) throw OutOfMemoryError(name_, sizeof(AVFormatContext));
    context->interrupt_callback = {&Ffmpeg::interrupted, this};
    extend_deadline();

    Dictionary options;
    const AVInputFormat* format = nullptr;
    if (kind_ == Kind::file) {
      options.set("protocol_whitelist", "file");
      options.set("format_whitelist", kContainers);
    } else if (kind_ == Kind::url) {
      options.set("protocol_whitelist", kUrlProtocols);
    } else {
#if defined(PLLAVA_HAVE_AVDEVICE)
      avdevice_register_all();
      format = av_find_input_format("video4linux2");
#endif
      if (format == nullptr) {
        avformat_free_context(context);
        fail("cameras need FFmpeg's libavdevice, which this build does not have");
      }
    }
    const int opened = avformat_open_input(&context, address_.c_str(), format, &options.entries);
    input_.reset(context);  // null after a failure
    check_cancelled();
    if (opened < 0)
      fail(kind_ == Kind::file ? std::string("FFmpeg does not know it as a video (") +
                                     error_text(opened) + "); " + kExpected
                               : "cannot be opened (" + error_text(opened) + ")");

    // Probing decodes some frames: sizes that the container states are checked before.
    for (unsigned i = 0; i < input_->nb_streams; ++i)
      if (input_->streams[i]->codecpar->codec_type == AVMEDIA_TYPE_VIDEO)
        check_size(input_->streams[i]->codecpar->width, input_->streams[i]->codecpar->height);
    std::vector<Dictionary> limits(input_->nb_streams);
    std::vector<AVDictionary*> entries;
    for (Dictionary& limit : limits) {
      limit.set("max_pixels", std::to_string(options_.max_pixels));
      entries.push_back(std::exchange(limit.entries, nullptr));
    }
    avformat_find_stream_info(input_.get(), entries.data());
    for (std::size_t i = 0; i < entries.size(); ++i) limits[i].entries = entries[i];
    check_cancelled();

    const int best = av_find_best_stream(input_.get(), AVMEDIA_TYPE_VIDEO, -1, -1, nullptr, 0);
    if (best < 0 || (input_->streams[best]->disposition & AV_DISPOSITION_ATTACHED_PIC) != 0)
      fail("there is no video in it, only " + std::to_string(input_->nb_streams) +
           " other stream(s); " + kExpected);
    for (unsigned i = 0; i < input_->nb_streams; ++i)
      input_->streams[i]->discard =
          i == static_cast<unsigned>(best) ? AVDISCARD_DEFAULT : AVDISCARD_ALL;
    stream_ = input_->streams[best];
    const AVCodecParameters& parameters = *stream_->codecpar;
    check_size(parameters.width, parameters.height);

    const AVCodec* decoder = avcodec_find_decoder(parameters.codec_id);
    if (decoder == nullptr)
      fail(std::string("this FFmpeg has no decoder for ") + avcodec_get_name(parameters.codec_id));
    codec_.reset(avcodec_alloc_context3(decoder));
    if (!codec_) throw OutOfMemoryError(name_, sizeof(AVCodecContext));
    int status = avcodec_parameters_to_context(codec_.get(), &parameters);
    codec_->pkt_timebase = stream_->time_base;
    codec_->thread_count = options_.threads;
    codec_->max_pixels = options_.max_pixels;
    if (status >= 0) status = avcodec_open2(codec_.get(), decoder, nullptr);
    if (status < 0) fail("its decoder cannot be opened (" + error_text(status) + ")");

    live_ = kind_ == Kind::device || input_->pb == nullptr ||
            (input_->pb->seekable & AVIO_SEEKABLE_NORMAL) == 0;
    orientation_ = orientation_of(stream_);
    if (!packet_) packet_.reset(av_packet_alloc());
    if (!frame_) frame_.reset(av_frame_alloc());
    if (!packet_ || !frame_) throw OutOfMemoryError(name_, sizeof(AVFrame));
    av_packet_unref(packet_.get());
    holding_ = draining_ = false;
    seeking_ = false;
    fed_ = skip_to_ = shown_ = 0;
    last_pts_ = start_pts_ = AV_NOPTS_VALUE;
    untouched_ = opened_ = true;
  }

  void describe() {
    const AVCodecParameters& parameters = *stream_->codecpar;
    info_.width = orientation_.swap ? parameters.height : parameters.width;
    info_.height = orientation_.swap ? parameters.width : parameters.height;
    for (const AVRational rate : {stream_->avg_frame_rate, stream_->r_frame_rate})
      if (info_.fps == 0.0 && rate.num > 0 && rate.den > 0) info_.fps = av_q2d(rate);
    if (stream_->duration > 0)
      info_.duration = static_cast<double>(stream_->duration) * av_q2d(stream_->time_base);
    else if (input_->duration > 0)
      info_.duration = static_cast<double>(input_->duration) / AV_TIME_BASE;
    info_.codec = avcodec_get_name(parameters.codec_id);
    info_.rotation = orientation_.degrees();
  }

  /// Back to the first packet, whatever state the demuxer is in.
  void restart() {
    if (!untouched_) open();
  }

  // --- demuxing ---

  /// The next packet of the video into packet_. False at the end, which damage may bring early.
  bool read_packet() {
    untouched_ = false;
    extend_deadline();
    for (;;) {
      const int status = av_read_frame(input_.get(), packet_.get());
      check_cancelled();
      if (status == AVERROR(EAGAIN) && !interrupted(this)) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
        continue;
      }
      if (status < 0) {
        if (kind_ != Kind::file && status != AVERROR_EOF)
          fail(interrupted(this) ? "no data within the timeout"
                                 : "the stream broke off (" + error_text(status) + ")");
        return false;
      }
      if (packet_->stream_index == stream_->index) return true;
      av_packet_unref(packet_.get());
    }
  }

  void read_index() {
    entries_.clear();
    frames_.clear();
    // A picture of an animation draws over the previous one, keyframe or not.
    by_timestamp_ = stream_->codecpar->codec_id != AV_CODEC_ID_GIF &&
                    stream_->codecpar->codec_id != AV_CODEC_ID_APNG;
    for (Index order = 0; read_packet(); ++order) {
      const AVPacket& p = *packet_;
      entries_.push_back({p.pts, p.dts, order, (p.flags & AV_PKT_FLAG_KEY) != 0,
                          (p.flags & AV_PKT_FLAG_DISCARD) != 0});
      by_timestamp_ = by_timestamp_ && p.pts != AV_NOPTS_VALUE;
      av_packet_unref(packet_.get());
    }
    if (entries_.empty()) fail("there is no frame in it");

    std::vector<Index> by_pts(entries_.size());
    for (std::size_t i = 0; i < by_pts.size(); ++i) by_pts[i] = static_cast<Index>(i);
    if (by_timestamp_) {
      const auto pts = [&](Index i) { return entries_[static_cast<std::size_t>(i)].pts; };
      std::sort(by_pts.begin(), by_pts.end(), [&](Index a, Index b) { return pts(a) < pts(b); });
      by_timestamp_ = std::adjacent_find(by_pts.begin(), by_pts.end(), [&](Index a, Index b) {
                        return pts(a) == pts(b);
                      }) == by_pts.end();
    }
    number_frames(by_pts);
    if (frames_.empty()) fail("there is no frame in it that is shown");
    by_pts_ = std::move(by_pts);
    set_frame_count(static_cast<Index>(frames_.size()));
    indexed_ = true;
    open();
  }

  /// Decides which packet is frame i. Without hidden packets that is the i-th by presentation time.
  /// Hidden ones count as in the reference's reader: it goes to the keyframe at or before i, by
  /// number, and skips as many frames as are missing; the decoder then drops the hidden ones. So
  /// within their group of pictures later frames take their place, and the next group sets in anew.
  void number_frames(const std::vector<Index>& by_pts) {
    std::vector<Index> shown;
    for (const Index i : by_pts)
      if (!entries_[static_cast<std::size_t>(i)].hidden) shown.push_back(i);
    if (!by_timestamp_ || shown.size() == by_pts.size() || shown.empty()) {
      frames_ = std::move(shown);
      return;
    }
    std::size_t before = 0;  // shown packets before i
    std::size_t shift = 0;   // hidden ones before i's keyframe
    for (std::size_t i = 0; i < by_pts.size(); ++i) {
      const Entry& e = entries_[static_cast<std::size_t>(by_pts[i])];
      if (e.key) shift = i - before;
      frames_.push_back(shown[std::min(i - shift, shown.size() - 1)]);
      if (!e.hidden) ++before;
    }
  }

  void set_frame_count(Index count) {
    info_.frame_count = count;
    if (info_.duration == 0.0 && info_.fps > 0.0)
      info_.duration = static_cast<double>(count) / info_.fps;
  }

  /// Position in the file of the packet with this timestamp, -1 if there is none.
  Index order_of(std::int64_t pts) const {
    const auto it =
        std::lower_bound(by_pts_.begin(), by_pts_.end(), pts, [&](Index i, std::int64_t value) {
          return entries_[static_cast<std::size_t>(i)].pts < value;
        });
    return it != by_pts_.end() && entries_[static_cast<std::size_t>(*it)].pts == pts ? *it : -1;
  }

  /// The keyframe from which `target` can be decoded. One that follows in presentation order does
  /// not do: frames between them in the file refer to what was before it.
  Index key_before(const Entry& target) const {
    for (Index i = target.order; i > 0; --i) {
      const Entry& e = entries_[static_cast<std::size_t>(i)];
      if (e.key && e.pts <= target.pts) return i;
    }
    return 0;
  }

  /// Makes the packet number `order` the next one that the decoder gets.
  void seek(Index order) {
    avcodec_flush_buffers(codec_.get());
    av_packet_unref(packet_.get());
    holding_ = draining_ = false;
    last_pts_ = AV_NOPTS_VALUE;
    skip_to_ = order;
    const Entry& e = entries_[static_cast<std::size_t>(order)];
    const std::int64_t time = e.dts != AV_NOPTS_VALUE ? e.dts : e.pts;
    extend_deadline();
    seeking_ = av_seek_frame(input_.get(), stream_->index, time, AVSEEK_FLAG_BACKWARD) >= 0;
    if (!seeking_) start_over(order);
    untouched_ = false;
  }

  void start_over(Index order) {
    untouched_ = false;
    restart();
    skip_to_ = order;
  }

  /// Gives the decoder one packet, or tells it that there are no more.
  void feed() {
    while (!holding_) {
      if (!read_packet()) {
        if (seeking_) {  // the seek went past the end
          start_over(skip_to_);
          continue;
        }
        avcodec_send_packet(codec_.get(), nullptr);
        draining_ = true;
        return;
      }
      if (seeking_) {
        // Where a seek lands is up to the container: the packet tells. Too late or unknown: go
        // there from the start of the file, which needs no decoding either.
        seeking_ = false;
        fed_ = order_of(packet_->pts);
        if (fed_ < 0 || fed_ > skip_to_) {
          av_packet_unref(packet_.get());
          start_over(skip_to_);
          continue;
        }
      }
      if (fed_++ < skip_to_)
        av_packet_unref(packet_.get());
      else
        holding_ = true;
    }
    if (avcodec_send_packet(codec_.get(), packet_.get()) == AVERROR(EAGAIN)) return;
    av_packet_unref(packet_.get());  // sent; or damaged, and the next one may do
    holding_ = false;
  }

  // --- decoding ---

  /// The next frame in presentation order into frame_. False at the end.
  bool decode() {
    for (int failures = 0; failures < 4096;) {
      check_cancelled();
      const int status = avcodec_receive_frame(codec_.get(), frame_.get());
      if (status == 0) {
        check_size(frame_->width, frame_->height);
        ++decoded_;
        ++shown_;
        last_pts_ = timestamp(*frame_);
        if (start_pts_ == AV_NOPTS_VALUE) start_pts_ = last_pts_;
        return true;
      }
      if (status == AVERROR_EOF) return false;
      if (status == AVERROR(ENOMEM))
        throw OutOfMemoryError("decoding of " + name_,
                               static_cast<std::uint64_t>(codec_->width) *
                                   static_cast<std::uint64_t>(codec_->height) * 3);
      if (status != AVERROR(EAGAIN) && draining_) ++failures;
      if (!draining_) feed();
    }
    return false;
  }

  static std::int64_t timestamp(const AVFrame& frame) {
    return frame.pts != AV_NOPTS_VALUE ? frame.pts : frame.best_effort_timestamp;
  }

  /// Decodes up to the frame of this packet. False if it does not come.
  bool reach_packet(Index order) {
    const Entry& target = entries_[static_cast<std::size_t>(order)];
    const Index key = key_before(target);
    const bool ahead = last_pts_ == AV_NOPTS_VALUE || last_pts_ < target.pts;
    const bool on_the_way = !seeking_ && key >= skip_to_ && key <= fed_;
    if (!ahead || !on_the_way) seek(key);
    while (decode()) {
      if (last_pts_ == target.pts) return true;
      if (last_pts_ > target.pts) return false;
    }
    return false;
  }

  /// Decodes up to the frame of this number, counted from the start of the file.
  bool reach_count(Index number) {
    if (shown_ > number) restart();
    while (decode())
      if (shown_ == number + 1) return true;
    return false;
  }

  /// For damaged files, whose packets do not all become frames: the frames are those that decode.
  void count_by_decoding() {
    if (counted_) fail("its frames do not decode alike twice");
    restart();
    while (decode()) {
    }
    if (shown_ == 0) fail("no frame of it can be decoded");
    set_frame_count(shown_);
    by_timestamp_ = false;
    counted_ = true;
    restart();
  }

  double time_of(const AVFrame& frame, Index number) const {
    const std::int64_t start = by_timestamp_ && indexed_
                                   ? entries_[static_cast<std::size_t>(frames_.front())].pts
                                   : start_pts_;
    const std::int64_t now = timestamp(frame);
    if (now != AV_NOPTS_VALUE && start != AV_NOPTS_VALUE)
      return static_cast<double>(now - start) * av_q2d(stream_->time_base);
    return info_.fps > 0.0 ? static_cast<double>(number) / info_.fps : 0.0;
  }

  /// frame_ as RGB. The same conversion, with the same defaults, as FFmpeg's filter format=rgb24.
  Frame convert(Index number) {
    const AVFrame& in = *frame_;
    const auto format = static_cast<AVPixelFormat>(in.format);
    const char* format_name = av_get_pix_fmt_name(format);
    scaler_.reset(sws_getCachedContext(scaler_.release(), in.width, in.height, format, in.width,
                                       in.height, AV_PIX_FMT_RGB24, SWS_BICUBIC, nullptr, nullptr,
                                       nullptr));
    if (!scaler_)
      fail(std::string("its pixel format cannot be converted to RGB (") +
           (format_name != nullptr ? format_name : "unknown") + ")");
    int* in_table = nullptr;
    int* out_table = nullptr;
    int in_range = 0;
    int out_range = 0;
    int brightness = 0;
    int contrast = 0;
    int saturation = 0;
    if (sws_getColorspaceDetails(scaler_.get(), &in_table, &in_range, &out_table, &out_range,
                                 &brightness, &contrast, &saturation) >= 0) {
      if (in.color_range != AVCOL_RANGE_UNSPECIFIED) in_range = in.color_range == AVCOL_RANGE_JPEG;
      sws_setColorspaceDetails(scaler_.get(), sws_getCoefficients(in.colorspace), in_range,
                               out_table, out_range, brightness, contrast, saturation);
    }

    // FFmpeg's own buffer: its converters write whole vectors beyond the end of a row.
    const std::shared_ptr<AVFrame> out(av_frame_alloc(), Free{});
    const auto bytes =
        static_cast<std::uint64_t>(in.width) * static_cast<std::uint64_t>(in.height) * 3;
    if (!out) throw OutOfMemoryError("a frame of " + name_, bytes);
    out->format = AV_PIX_FMT_RGB24;
    out->width = in.width;
    out->height = in.height;
    if (av_frame_get_buffer(out.get(), 0) < 0) throw OutOfMemoryError("a frame of " + name_, bytes);
    if (sws_scale(scaler_.get(), in.data, in.linesize, 0, in.height, out->data, out->linesize) <= 0)
      fail("a frame cannot be converted to RGB");

    Frame frame =
        Frame::borrow(out->data[0], in.width, in.height, PixelFormat::rgb, out->linesize[0]);
    frame.owner = out;
    if (!orientation_.identity()) frame = oriented(frame, orientation_);
    frame.index = number;
    frame.time = time_of(in, number);
    return frame;
  }

  Kind kind_;
  std::string address_;  // as FFmpeg wants it
  std::stop_token cancel_;
  std::chrono::steady_clock::time_point deadline_;

  Handle<AVFormatContext> input_;
  Handle<AVCodecContext> codec_;
  Handle<AVPacket> packet_;
  Handle<AVFrame> frame_;
  Handle<SwsContext> scaler_;
  AVStream* stream_ = nullptr;
  Orientation orientation_;
  bool live_ = false;  // cannot go back

  std::vector<Entry> entries_;  // in the order of the file
  std::vector<Index> by_pts_;   // numbers of entries_ by presentation time
  std::vector<Index> frames_;   // number of the entry that is frame i
  bool indexed_ = false;
  bool by_timestamp_ = false;  // frames are found by pts; otherwise by counting from the start
  bool counted_ = false;       // frame_count comes from decoding

  // Where demuxer and decoder are.
  bool opened_ = false;
  bool untouched_ = true;  // nothing was read since open()
  bool seeking_ = false;   // the next packet's number is not known yet
  Index fed_ = 0;          // number of the next packet
  Index skip_to_ = 0;      // packets before this one do not reach the decoder
  bool holding_ = false;   // packet_ waits for room in the decoder
  bool draining_ = false;
  Index shown_ = 0;  // frames since open()
  std::int64_t last_pts_ = AV_NOPTS_VALUE;
  std::int64_t start_pts_ = AV_NOPTS_VALUE;
  bool iterating_ = false;
  bool ended_ = false;
};

// --- Choosing a source --------------------------------------------------------------------------

void check_options(const VideoOptions& o) {
  if (!(o.fps >= 0.0) || std::isinf(o.fps))
    throw ArgumentError("VideoOptions::fps must be a finite number, 0 for all frames");
  if (o.threads < 1 || o.threads > 64)
    throw ArgumentError("VideoOptions::threads is " + std::to_string(o.threads) +
                        "; expected 1 to 64");
  if (o.max_pixels < 1 || o.max_pixels > (Index{1} << 40))
    throw ArgumentError("VideoOptions::max_pixels is " + std::to_string(o.max_pixels) +
                        "; expected at least 1");
  if (!(o.timeout > 0.0) || o.timeout > 1e6)
    throw ArgumentError("VideoOptions::timeout must be a positive number of seconds");
}

bool is_url(const std::string& source) {
  const std::size_t end = source.find("://");
  if (end == std::string::npos || end == 0) return false;
  return std::all_of(source.begin(), source.begin() + static_cast<std::ptrdiff_t>(end), [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '+' || c == '-' || c == '.';
  });
}

std::unique_ptr<Video::Source> open_source(const std::string& source, const VideoOptions& options) {
  constexpr std::string_view kFileScheme = "file://";
  const bool file_url = source.starts_with(kFileScheme);
  if (is_url(source) && !file_url)
    return std::make_unique<Ffmpeg>(source, options, Ffmpeg::Kind::url, source);

  const fs::path path = file_url ? source.substr(kFileScheme.size()) : source;
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (status.type() == fs::file_type::not_found) {
    if (auto files = match_pattern(path, source))
      return std::make_unique<Pictures>(source, options, std::move(*files));
    throw MediaError(source, std::string("no such file or directory; ") + kExpected);
  }
  if (error) throw MediaError(source, error.message() + "; " + kExpected);
  if (fs::is_directory(status))
    return std::make_unique<Pictures>(source, options,
                                      list_files(path, source, named_like_a_picture));
  if (fs::is_character_file(status))
    return std::make_unique<Ffmpeg>(source, options, Ffmpeg::Kind::device, path.string());
  if (fs::is_regular_file(status)) {
    std::array<char, 16> head{};
    std::ifstream file(path, std::ios::binary);
    if (!file) throw MediaError(source, std::string("the file cannot be read; ") + kExpected);
    file.read(head.data(), head.size());
    const auto size = static_cast<std::size_t>(file.gcount());
    if (size == 0) throw MediaError(source, std::string("the file is empty; ") + kExpected);
    const std::string extension = lower_extension(path);
    const bool motion_jpeg = extension == ".mjpeg" || extension == ".mjpg";
    if (!motion_jpeg && is_picture(std::as_bytes(std::span(head.data(), size))))
      return std::make_unique<Pictures>(source, options, std::vector<fs::path>{path});
  }
  return std::make_unique<Ffmpeg>(source, options, Ffmpeg::Kind::file, "file:" + path.string());
}

/// Frames of the indices that `choose` gives, decoded once each.
template <class Choose>
Clip gather(Video::Source& source, const std::stop_token& cancel, Choose&& choose) {
  for (;;) {
    source.index(cancel);
    const std::vector<Index> wanted = choose();
    std::vector<Index> distinct = wanted;
    std::sort(distinct.begin(), distinct.end());
    distinct.erase(std::unique(distinct.begin(), distinct.end()), distinct.end());
    std::vector<Frame> frames;
    frames.reserve(distinct.size());
    if (!source.fetch(distinct, cancel, frames)) continue;

    Clip clip;
    clip.source = source.name();
    clip.fps = source.info().fps;
    clip.total_frames = source.info().frame_count;
    for (const Index i : wanted)
      clip.frames.push_back(frames[static_cast<std::size_t>(
          std::lower_bound(distinct.begin(), distinct.end(), i) - distinct.begin())]);
    return clip;
  }
}

}  // namespace

// --- Video --------------------------------------------------------------------------------------

Video::Video(std::unique_ptr<Source> source) : impl_(std::move(source)) {}
Video::Video(Video&&) noexcept = default;
Video& Video::operator=(Video&&) noexcept = default;
Video::~Video() = default;

Video Video::open(const std::string& source, const VideoOptions& options) {
  check_options(options);
  if (options.silence_ffmpeg) silence_ffmpeg();
  return Video(open_source(source, options));
}

const VideoInfo& Video::info() const noexcept {
  return impl_->info();
}

const std::string& Video::source() const noexcept {
  return impl_->name();
}

Clip Video::sample(Index n, const SampleOptions& options) {
  return gather(*impl_, options.cancel, [&] {
    try {
      return impl_->choose(n, options);
    } catch (const ArgumentError& e) {
      throw ArgumentError(impl_->name() + ": " + e.what());
    }
  });
}

Clip Video::frames_at(std::span<const Index> indices, std::stop_token cancel) {
  return gather(*impl_, cancel, [&] {
    const Index count = impl_->info().frame_count;
    for (const Index i : indices)
      if (i < 0 || i >= count)
        throw ArgumentError(impl_->name() + ": there is no frame " + std::to_string(i) +
                            "; it has 0 to " + std::to_string(count - 1));
    return std::vector<Index>(indices.begin(), indices.end());
  });
}

std::optional<Frame> Video::next() {
  return impl_->next();
}

void Video::rewind() {
  impl_->rewind();
}

Index Video::decoded_frames() const noexcept {
  return impl_->decoded();
}

}  // namespace pllava
