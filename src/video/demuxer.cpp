#include "demuxer.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdio>
#include <cstring>
#include <new>
#include <optional>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "diagnosis.hpp"
#include "mp4_index.hpp"
#include "source.hpp"

#if defined(PLLAVA_HAVE_AVDEVICE)
extern "C" {
#include <libavdevice/avdevice.h>
}
#endif

namespace pllava::detail {

namespace {

/// Formats that are refused for files: they name other files, or accept any text as a video.
/// Formats without a file (devices, image sequences) are refused too.
constexpr std::array<std::string_view, 17> kRefusedFormats = {
    "hls,applehttp", "hls", "dash",    "webm_dash_manifest", "concat", "imf", "sdp",
    "rtsp",          "rtp", "vobsub",  "ffmetadata",         "tty",    "bin", "xbin",
    "adf",           "idf", "rawvideo"};

/// The names of FFmpeg's formats that store their frames themselves, separated by commas. Audio
/// formats are among them, so that the error is that the file contains no video.
const std::string& file_formats() {
  static const std::string names = [] {
    std::string list;
    void* state = nullptr;
    while (const AVInputFormat* format = av_demuxer_iterate(&state)) {
      if ((format->flags & AVFMT_NOFILE) != 0) continue;
      const auto refused = std::find(kRefusedFormats.begin(), kRefusedFormats.end(), format->name);
      if (refused == kRefusedFormats.end()) list += std::string(format->name) + ',';
    }
    list.pop_back();
    return list;
  }();
  return names;
}

constexpr const char* kUrlProtocols =
    "http,https,httpproxy,tls,tcp,udp,udplite,rtp,srtp,rtsp,rtmp,rtmps,rtmpt,rtmpts,srt,crypto";

constexpr std::string_view kFilePrefix = "file:";  // of MediaInput::address

/// Host and port of a URL: "cam.local:80". Empty if it has none.
std::string host_and_port(const char* url) {
  char scheme[32] = {}, host[256] = {};
  int port = -1;
  av_url_split(scheme, sizeof scheme, nullptr, 0, host, sizeof host, &port, nullptr, 0, url);
  if (host[0] == '\0') return {};
  for (char& c : scheme) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  std::string_view protocol = scheme;
  if (protocol.starts_with("crypto+")) protocol.remove_prefix(7);
  if (port < 0) port = protocol == "https" ? 443 : protocol == "http" ? 80 : 0;
  std::string text = std::string(host) + ':' + std::to_string(port);
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

int interrupt_callback(void* input) {
  return static_cast<const MediaInput*>(input)->interrupted();
}

}  // namespace

std::string seconds_text(double seconds) {
  std::string text = std::to_string(seconds);
  text.erase(text.find_last_not_of('0') + 1);
  if (text.back() == '.') text.pop_back();
  return text + " s";
}

void MediaInput::extend_deadline(double more) {
  deadline = std::chrono::steady_clock::now() +
             std::chrono::duration_cast<std::chrono::steady_clock::duration>(
                 std::chrono::duration<double>(options.timeout + more));
}

bool MediaInput::interrupted() const {
  return cancelled() || stop.cancelled() ||
         (may_wait() && std::chrono::steady_clock::now() > deadline);
}

void MediaInput::check_cancelled() const {
  cancel.check("reading of " + name);
  options.cancel.check("reading of " + name);
}

void MediaInput::check_refused_address() const {
  if (refused_address.empty()) return;
  fail_for_good("the playlist names " + refused_address +
                ", which is on another host or port; expected " + host_and_port(address.c_str()) +
                ", or VideoOptions::follow_other_hosts");
}

void MediaInput::check_size(Index width, Index height) const {
  if (width < 0 || height < 0 || (height > 0 && width > options.max_pixels / height))
    fail_for_good("frames of " + std::to_string(width) + "x" + std::to_string(height) +
                  " pixels; the limit is " + std::to_string(options.max_pixels) + " in all");
}

Demuxer::Demuxer(MediaInput& input) : input_(input) {
  open_container();
  probe_streams();
  select_stream();
  look_for_replacements();
  // A live playlist (HLS, DASH) has no duration: it never ends.
  const std::string_view format = context_->iformat->name;
  const bool is_playlist = format.starts_with("hls") || format == "dash";
  seekable_ = input_.kind != MediaInput::Kind::camera && context_->pb != nullptr &&
              (context_->pb->seekable & AVIO_SEEKABLE_NORMAL) != 0 &&
              !(is_playlist && context_->duration <= 0);
}

bool Demuxer::has_live_protocol() const {
  constexpr std::array<std::string_view, 6> kSchemes = {"rtsp", "rtmp", "rtp",
                                                        "srtp", "srt",  "udp"};
  return input_.kind == MediaInput::Kind::url && !seekable_ &&
         std::any_of(kSchemes.begin(), kSchemes.end(),
                     [&](auto scheme) { return input_.address.starts_with(scheme); });
}

bool Demuxer::is_endless() const {
  return input_.kind == MediaInput::Kind::camera || (has_live_protocol() && duration() <= 0);
}

bool Demuxer::sends_in_real_time() const {
  return is_endless() || has_live_protocol() || lacks_clock();
}

bool Demuxer::lacks_clock() const {
  const std::string_view format = context_->iformat->name;
  return input_.may_wait() && input_.kind != MediaInput::Kind::growing && !seekable_ &&
         (format == "mpjpeg" || (context_->iformat->flags & AVFMT_NOTIMESTAMPS) != 0);
}

/// Opens an address, for FFmpeg: that of the source or one in a playlist.
int Demuxer::open_address(AVFormatContext* context, AVIOContext** io, const char* address,
                          int flags, AVDictionary** options) {
  auto& self = *static_cast<Demuxer*>(context->opaque);
  MediaInput& input = self.input_;
  try {
    if (input.kind == MediaInput::Kind::url && !input.options.follow_other_hosts &&
        host_and_port(address) != host_and_port(input.address.c_str())) {
      if (input.refused_address.empty()) input.refused_address = without_secrets(address);
      return AVERROR(EACCES);
    }
  } catch (const std::bad_alloc&) {  // an exception must not pass through FFmpeg
    return AVERROR(ENOMEM);
  }
  return self.default_open_(context, io, address, flags, options);
}

/// Reads MediaInput::bytes, for FFmpeg.
int Demuxer::read_memory(void* demuxer, std::uint8_t* to, int size) {
  auto& self = *static_cast<Demuxer*>(demuxer);
  const std::vector<std::byte>& bytes = *self.input_.bytes;
  const std::size_t count =
      std::min(static_cast<std::size_t>(size), bytes.size() - self.memory_position_);
  if (count == 0) return AVERROR_EOF;
  std::memcpy(to, bytes.data() + self.memory_position_, count);
  self.memory_position_ += count;
  return static_cast<int>(count);
}

std::int64_t Demuxer::seek_memory(void* demuxer, std::int64_t offset, int whence) {
  auto& self = *static_cast<Demuxer*>(demuxer);
  const auto size = static_cast<std::int64_t>(self.input_.bytes->size());
  if ((whence & AVSEEK_SIZE) != 0) return size;
  std::int64_t base = 0;
  if (whence == SEEK_CUR) base = static_cast<std::int64_t>(self.memory_position_);
  if (whence == SEEK_END) base = size;
  if (offset < -base || offset > size - base) return AVERROR(EINVAL);
  self.memory_position_ = static_cast<std::size_t>(base + offset);
  return base + offset;
}

/// Reads a growing file or a pipe, for FFmpeg.
int Demuxer::read_stream(void* demuxer, std::uint8_t* to, int size) {
  auto& self = *static_cast<Demuxer*>(demuxer);
  const MediaInput& input = self.input_;
  const int count = self.stream_bytes_->read(to, size, [&] { return input.interrupted(); });
  return count == 0 ? AVERROR_EOF : count;  // AVERROR(e) is -e
}

void Demuxer::make_own_io(int (*read_bytes)(void*, std::uint8_t*, int),
                          std::int64_t (*seek_bytes)(void*, std::int64_t, int)) {
  constexpr int kBufferBytes = 32 * 1024;
  auto* const buffer = static_cast<unsigned char*>(av_malloc(kBufferBytes));
  if (buffer != nullptr)
    own_io_.reset(
        avio_alloc_context(buffer, kBufferBytes, 0, this, read_bytes, nullptr, seek_bytes));
  if (own_io_) return;
  av_free(buffer);
  throw OutOfMemoryError(input_.name, kBufferBytes);
}

void Demuxer::open_container() {
  FfmpegDictionary options;
  InputFormat* format = nullptr;
  switch (input_.kind) {
    case MediaInput::Kind::file:
    case MediaInput::Kind::memory:
    case MediaInput::Kind::growing:
    case MediaInput::Kind::pipe:
      options.set("protocol_whitelist", "file");
      options.set("format_whitelist", file_formats());
      break;
    case MediaInput::Kind::url: options.set("protocol_whitelist", kUrlProtocols); break;
    case MediaInput::Kind::camera:
#if defined(PLLAVA_HAVE_AVDEVICE)
      avdevice_register_all();
      format = av_find_input_format("video4linux2");
#endif
      if (format == nullptr)
        input_.fail_for_good("cameras need FFmpeg's libavdevice, which this build does not have");
  }

  // RTP over UDP loses packets, which damages frames up to the next keyframe.
  if (input_.address.starts_with("rtsp:")) options.set("rtsp_flags", "prefer_tcp");
  for (const auto& [name, value] : input_.options.input_options) options.set(name.c_str(), value);

  if (input_.kind == MediaInput::Kind::memory) make_own_io(read_memory, seek_memory);
  if (input_.kind == MediaInput::Kind::growing || input_.kind == MediaInput::Kind::pipe) {
    stream_bytes_.emplace(input_.address, input_.name);
    make_own_io(read_stream, nullptr);
  }
  AVFormatContext* context = avformat_alloc_context();
  if (context == nullptr) throw OutOfMemoryError(input_.name, sizeof(AVFormatContext));
  context->interrupt_callback = {interrupt_callback, &input_};
  context->opaque = this;
  default_open_ = std::exchange(context->io_open, open_address);
  context->pb = own_io_.get();
  input_.extend_deadline();
  const int status =
      avformat_open_input(&context, input_.address.c_str(), format, options.address());
  context_.reset(context);  // null after a failure
  input_.check_cancelled();
  if (status < 0) fail_to_open(status);
  for (const auto& [name, value] : input_.options.input_options)
    if (options.has(name.c_str()))
      throw ArgumentError(input_.name + ": FFmpeg has no input option \"" + name +
                          "\" for this source");
}

void Demuxer::fail_to_open(int status) const {
  const std::string reason = ffmpeg_error_text(status);
  if (!input_.may_wait()) {
    const std::string diagnosis = input_.kind == MediaInput::Kind::file
                                      ? diagnose_file(input_.address.substr(kFilePrefix.size()))
                                      : std::string();
    input_.fail((diagnosis.empty() ? "FFmpeg does not recognize it as a video (" + reason + ")"
                                   : diagnosis) +
                "; " + kExpectedSource);
  }
  input_.check_refused_address();
  if (input_.interrupted())
    input_.fail("no data for " + seconds_text(input_.options.timeout) +
                (is_growing() ? "; expected a file whose index is not at its end, such as MPEG-TS, "
                                "Matroska or fragmented MP4"
                              : ""));
  switch (status) {
    case AVERROR_PROTOCOL_NOT_FOUND:
    case AVERROR_DEMUXER_NOT_FOUND:
    case AVERROR_OPTION_NOT_FOUND:
    case AVERROR_HTTP_BAD_REQUEST:
    case AVERROR_HTTP_UNAUTHORIZED:
    case AVERROR_HTTP_FORBIDDEN:
    case AVERROR(EACCES): input_.fail_for_good("cannot be opened (" + reason + ")");
    default: input_.fail("cannot be opened (" + reason + ")");
  }
}

void Demuxer::probe_streams() {
  // Probing decodes frames, so the sizes in the container are checked first.
  const unsigned count = context_->nb_streams;
  for (unsigned i = 0; i < count; ++i) {
    const AVCodecParameters& parameters = *context_->streams[i]->codecpar;
    if (parameters.codec_type == AVMEDIA_TYPE_VIDEO)
      input_.check_size(parameters.width, parameters.height);
  }
  std::vector<FfmpegDictionary> limits(count);
  for (FfmpegDictionary& limit : limits)
    limit.set("max_pixels", std::to_string(input_.options.max_pixels));
  std::vector<AVDictionary*> entries(count);
  for (std::size_t i = 0; i < entries.size(); ++i) entries[i] = limits[i].release();
  // Probing reads some seconds of a live stream, in which data arrive.
  constexpr double kProbeSeconds = 10;
  input_.extend_deadline(kProbeSeconds);
  avformat_find_stream_info(context_.get(), entries.data());
  for (std::size_t i = 0; i < entries.size(); ++i) limits[i].reset(entries[i]);
  input_.check_cancelled();
  if (input_.interrupted() && !is_growing())
    input_.fail("no data for " + seconds_text(input_.options.timeout));
}

/// The indices of the video streams, without cover images.
std::vector<int> Demuxer::video_streams() const {
  std::vector<int> streams;
  for (unsigned i = 0; i < context_->nb_streams; ++i) {
    const AVStream& stream = *context_->streams[i];
    if (stream.codecpar->codec_type == AVMEDIA_TYPE_VIDEO &&
        (stream.disposition & AV_DISPOSITION_ATTACHED_PIC) == 0)
      streams.push_back(static_cast<int>(i));
  }
  return streams;
}

void Demuxer::select_stream() {
  const std::vector<int> streams = video_streams();
  if (streams.empty()) input_.check_refused_address();
  if (streams.empty())
    input_.fail("contains no video, only " + std::to_string(context_->nb_streams) +
                " other stream(s); " + kExpectedSource);
  const int wanted = input_.options.stream;
  if (wanted >= static_cast<int>(streams.size()))
    input_.fail_for_good("has no video stream " + std::to_string(wanted) + "; expected 0 to " +
                         std::to_string(streams.size() - 1));
  const auto first_default = std::find_if(streams.begin(), streams.end(), [&](int i) {
    return (context_->streams[i]->disposition & AV_DISPOSITION_DEFAULT) != 0;
  });
  const int selected = wanted >= 0                      ? streams[static_cast<std::size_t>(wanted)]
                       : first_default != streams.end() ? *first_default
                                                        : streams[0];
  for (unsigned i = 0; i < context_->nb_streams; ++i)
    context_->streams[i]->discard =
        i == static_cast<unsigned>(selected) ? AVDISCARD_DEFAULT : AVDISCARD_ALL;
  stream_ = context_->streams[selected];
  if (const AVProgram* program = av_find_program_from_stream(context_.get(), nullptr, selected))
    program_ = program->id;
  probed_streams_ = static_cast<int>(context_->nb_streams);
  if (stream_->codecpar->codec_tag == MKTAG('e', 'n', 'c', 'v'))
    input_.fail_for_good("is encrypted; expected a video without copy protection");
  input_.check_size(stream_->codecpar->width, stream_->codecpar->height);
}

std::string Demuxer::other_video_streams() const {
  const std::vector<int> streams = video_streams();
  if (streams.size() < 2 || input_.options.stream >= 0 || !replacements_.empty()) return {};
  const auto number = std::find(streams.begin(), streams.end(), stream_->index) - streams.begin();
  return "the file has " + std::to_string(streams.size()) + " video streams; stream " +
         std::to_string(number) + " is read";
}

double Demuxer::duration() const {
  if (stream_->duration > 0)
    return static_cast<double>(stream_->duration) * av_q2d(stream_->time_base);
  if (context_->duration > 0) return static_cast<double>(context_->duration) / AV_TIME_BASE;
  return 0.0;
}

double Demuxer::frame_rate() const {
  for (const AVRational rate : {stream_->avg_frame_rate, stream_->r_frame_rate})
    if (rate.num > 0 && rate.den > 0) return av_q2d(rate);
  return 0.0;
}

double Demuxer::frame_interval() const {
  const double rate = frame_rate();
  return rate > 0.0 ? 1.0 / rate : 0.04;
}

std::vector<PacketInfo> Demuxer::container_index() const {
  const int count = avformat_index_get_entries_count(stream_);
  const std::string_view format = context_->iformat->name;
  const bool is_avi = format == "avi";
  if (input_.kind != MediaInput::Kind::file || count < 1 || (!is_avi && !format.starts_with("mov")))
    return {};
  std::optional<std::vector<std::int64_t>> offsets;  // AVI has no presentation times
  if (!is_avi) {
    offsets = composition_offsets(input_.address.substr(kFilePrefix.size()), stream_->id,
                                  static_cast<std::size_t>(count));
    if (!offsets) return {};
  }
  const std::int64_t file_size = avio_size(context_->pb);
  std::vector<PacketInfo> packets;
  packets.reserve(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) {
    const AVIndexEntry& entry = *avformat_index_get_entry(stream_, i);
    if (entry.pos < 0 || entry.size < 1 || entry.pos > file_size - entry.size) return {};
    packets.push_back(
        {.pts = is_avi ? AV_NOPTS_VALUE : entry.timestamp + (*offsets)[static_cast<std::size_t>(i)],
         .dts = entry.timestamp,
         .key = (entry.flags & AVINDEX_KEYFRAME) != 0,
         .hidden = (entry.flags & AVINDEX_DISCARD_FRAME) != 0});
  }
  return packets;
}

std::int64_t Demuxer::size() const {
  return context_->pb == nullptr ? 0 : std::max<std::int64_t>(avio_size(context_->pb), 0);
}

/// Whether `stream` is in the program of the video stream, or there is only one program.
bool Demuxer::is_of_the_program(int stream) const {
  if (context_->nb_programs < 2) return true;
  const AVProgram* const program = av_find_program_from_stream(context_.get(), nullptr, stream);
  return program != nullptr && program->id == program_;
}

/// Whether `stream` replaces the video stream of the same program, as after a change of its PID.
bool Demuxer::continues_in(int stream) const {
  if (context_->streams[stream]->codecpar->codec_type != AVMEDIA_TYPE_VIDEO) return false;
  return stream < probed_streams_
             ? std::count(replacements_.begin(), replacements_.end(), stream) > 0
             : is_of_the_program(stream);
}

/// Two video streams of a transport stream are either sent together, and one is read, or one after
/// the other. The first packets tell: in the first case, those of both alternate.
void Demuxer::look_for_replacements() {
  constexpr std::size_t kPackets = 64;
  if (std::string_view(context_->iformat->name) != "mpegts" || input_.options.stream >= 0) return;
  for (const int stream : video_streams())
    if (stream != stream_->index && is_of_the_program(stream)) {
      replacements_.push_back(stream);
      context_->streams[stream]->discard = AVDISCARD_DEFAULT;
    }
  bool replaced = false;
  while (!replacements_.empty() && read_ahead_.size() < kPackets) {
    FfmpegHandle<AVPacket> packet(av_packet_alloc());
    if (!packet) throw OutOfMemoryError(input_.name, sizeof(AVPacket));
    if (av_read_frame(context_.get(), packet.get()) < 0) break;
    const bool own = packet->stream_index == stream_->index;
    read_ahead_.push_back(std::move(packet));
    if (own && replaced) {
      for (const int stream : replacements_) context_->streams[stream]->discard = AVDISCARD_ALL;
      replacements_.clear();
    }
    replaced = replaced || !own;
  }
}

/// av_read_frame, after the packets that were read ahead.
int Demuxer::read_frame(AVPacket& packet) {
  if (read_ahead_.empty()) return av_read_frame(context_.get(), &packet);
  av_packet_move_ref(&packet, read_ahead_.front().get());
  read_ahead_.pop_front();
  return 0;
}

bool Demuxer::read(AVPacket& packet) {
  input_.extend_deadline();
  for (;;) {
    const int status = read_frame(packet);
    input_.check_cancelled();
    if (status == AVERROR(EAGAIN) && !input_.interrupted()) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      continue;
    }
    if (status < 0) {
      input_.check_refused_address();
      const int cause = status == AVERROR_EOF && context_->pb != nullptr && context_->pb->error < 0
                            ? context_->pb->error  // some demuxers return the end instead
                            : status;
      if (input_.may_wait() && !is_growing() && (cause != AVERROR_EOF || input_.interrupted()))
        input_.fail(input_.interrupted() ? "no data for " + seconds_text(input_.options.timeout)
                                         : "the stream broke (" + ffmpeg_error_text(cause) + ")");
      return false;
    }
    if (packet.stream_index == stream_->index) return true;
    if (continues_in(packet.stream_index)) {
      input_.stream_change = "the video changes from stream " + std::to_string(stream_->id) +
                             " to " + std::to_string(context_->streams[packet.stream_index]->id) +
                             "; frames at the change can be missing";
      stream_ = context_->streams[packet.stream_index];
      return true;
    }
    av_packet_unref(&packet);
  }
}

bool Demuxer::seek(std::int64_t timestamp) {
  input_.extend_deadline();
  read_ahead_.clear();
  return av_seek_frame(context_.get(), stream_->index, timestamp, AVSEEK_FLAG_BACKWARD) >= 0;
}

}  // namespace pllava::detail
