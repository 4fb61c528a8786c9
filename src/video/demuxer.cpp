#include "demuxer.hpp"

#include <thread>
#include <vector>

#include "source.hpp"

#if defined(PLLAVA_HAVE_AVDEVICE)
extern "C" {
#include <libavdevice/avdevice.h>
}
#endif

namespace pllava::detail {

namespace {

/// Containers that store their frames themselves. Playlists, scripts and text are not among them.
constexpr const char* kContainers =
    "mov,mp4,matroska,webm,avi,gif,apng,mpegts,mpeg,mpegvideo,flv,ogg,asf,m4v,h264,hevc,h263,av1,"
    "obu,ivf,mjpeg,mjpeg_2000,nut,mxf,dv,rm,swf,wtv,y4m,yuv4mpegpipe,vc1,vc1test,dirac,cavsvideo,"
    "live_flv,3g2,webp_pipe,tiff_pipe,jpegxl_pipe,j2k_pipe,roq,bink,smk,nsv,gxf,amv,mlv,"
    // Audio formats are opened too, so that the error is that they contain no video.
    "mp3,wav,flac,aac,ac3,aiff,au,caf,w64,amr,eac3,dts,tta,wv,ape,xwma";

constexpr const char* kUrlProtocols =
    "http,https,httpproxy,tls,tcp,udp,udplite,rtp,srtp,rtsp,rtmp,rtmps,rtmpt,rtmpts,srt,crypto";

int interrupt_callback(void* input) {
  return static_cast<const MediaInput*>(input)->interrupted();
}

}  // namespace

void MediaInput::extend_deadline() {
  deadline = std::chrono::steady_clock::now() +
             std::chrono::duration_cast<std::chrono::steady_clock::duration>(
                 std::chrono::duration<double>(options.timeout));
}

bool MediaInput::interrupted() const {
  return cancel.cancelled() || (kind != Kind::file && std::chrono::steady_clock::now() > deadline);
}

void MediaInput::check_cancelled() const {
  if (cancel.cancelled()) throw CancelledError("decoding of " + name);
}

void MediaInput::check_size(Index width, Index height) const {
  if (width < 0 || height < 0 || (height > 0 && width > options.max_pixels / height))
    fail("frames of " + std::to_string(width) + "x" + std::to_string(height) +
         " pixels; the limit is " + std::to_string(options.max_pixels) + " in all");
}

Demuxer::Demuxer(MediaInput& input) : input_(input) {
  open_container();
  probe_streams();
  select_stream();
  seekable_ = input_.kind != MediaInput::Kind::camera && context_->pb != nullptr &&
              (context_->pb->seekable & AVIO_SEEKABLE_NORMAL) != 0;
}

void Demuxer::open_container() {
  FfmpegDictionary options;
  const AVInputFormat* format = nullptr;
  switch (input_.kind) {
    case MediaInput::Kind::file:
      options.set("protocol_whitelist", "file");
      options.set("format_whitelist", kContainers);
      break;
    case MediaInput::Kind::url: options.set("protocol_whitelist", kUrlProtocols); break;
    case MediaInput::Kind::camera:
#if defined(PLLAVA_HAVE_AVDEVICE)
      avdevice_register_all();
      format = av_find_input_format("video4linux2");
#endif
      if (format == nullptr)
        input_.fail("cameras need FFmpeg's libavdevice, which this build does not have");
  }

  AVFormatContext* context = avformat_alloc_context();
  if (context == nullptr) throw OutOfMemoryError(input_.name, sizeof(AVFormatContext));
  context->interrupt_callback = {interrupt_callback, &input_};
  input_.extend_deadline();
  const int status =
      avformat_open_input(&context, input_.address.c_str(), format, options.address());
  context_.reset(context);  // null after a failure
  input_.check_cancelled();
  if (status < 0)
    input_.fail(input_.kind == MediaInput::Kind::file
                    ? std::string("FFmpeg does not recognize it as a video (") +
                          ffmpeg_error_text(status) + "); " + kExpectedSource
                    : "cannot be opened (" + ffmpeg_error_text(status) + ")");
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
  std::vector<AVDictionary*> entries;
  for (FfmpegDictionary& limit : limits) {
    limit.set("max_pixels", std::to_string(input_.options.max_pixels));
    entries.push_back(limit.release());
  }
  avformat_find_stream_info(context_.get(), entries.data());
  for (std::size_t i = 0; i < entries.size(); ++i) limits[i].reset(entries[i]);
  input_.check_cancelled();
}

void Demuxer::select_stream() {
  const int best = av_find_best_stream(context_.get(), AVMEDIA_TYPE_VIDEO, -1, -1, nullptr, 0);
  if (best < 0 || (context_->streams[best]->disposition & AV_DISPOSITION_ATTACHED_PIC) != 0)
    input_.fail("contains no video, only " + std::to_string(context_->nb_streams) +
                " other stream(s); " + kExpectedSource);
  for (unsigned i = 0; i < context_->nb_streams; ++i)
    context_->streams[i]->discard =
        i == static_cast<unsigned>(best) ? AVDISCARD_DEFAULT : AVDISCARD_ALL;
  stream_ = context_->streams[best];
  input_.check_size(stream_->codecpar->width, stream_->codecpar->height);
}

double Demuxer::duration() const {
  if (stream_->duration > 0)
    return static_cast<double>(stream_->duration) * av_q2d(stream_->time_base);
  if (context_->duration > 0) return static_cast<double>(context_->duration) / AV_TIME_BASE;
  return 0.0;
}

bool Demuxer::read(AVPacket& packet) {
  input_.extend_deadline();
  for (;;) {
    const int status = av_read_frame(context_.get(), &packet);
    input_.check_cancelled();
    if (status == AVERROR(EAGAIN) && !input_.interrupted()) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      continue;
    }
    if (status < 0) {
      if (input_.kind != MediaInput::Kind::file && status != AVERROR_EOF)
        input_.fail(input_.interrupted() ? "no data within the timeout"
                                         : "the stream broke (" + ffmpeg_error_text(status) + ")");
      return false;
    }
    if (packet.stream_index == stream_->index) return true;
    av_packet_unref(&packet);
  }
}

bool Demuxer::seek(std::int64_t timestamp) {
  input_.extend_deadline();
  return av_seek_frame(context_.get(), stream_->index, timestamp, AVSEEK_FLAG_BACKWARD) >= 0;
}

}  // namespace pllava::detail
