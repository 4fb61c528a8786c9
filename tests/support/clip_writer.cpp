// Encodes test clips with FFmpeg's libraries.
#include "support/clip_writer.hpp"

#include <cstring>
#include <memory>
#include <stdexcept>

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/display.h>
#include <libavutil/log.h>
#include <libavutil/opt.h>
#include <libavutil/pixdesc.h>
}

namespace test {
namespace {

constexpr int kColumns = 4;
constexpr int kRows = 3;

int check(int status, const char* what) {
  if (status < 0) {
    char text[AV_ERROR_MAX_STRING_SIZE] = {};
    av_strerror(status, text, sizeof text);
    throw std::runtime_error(std::string("clip writer: ") + what + ": " + text);
  }
  return status;
}

/// Draws the bits of `number` as black and white blocks.
void paint(AVFrame& frame, int number, const ClipSpec& spec) {
  for (int y = 0; y < frame.height; ++y)
    for (int x = 0; x < frame.width; ++x) {
      const int bit = y * kRows / frame.height * kColumns + x * kColumns / frame.width;
      frame.data[0][y * frame.linesize[0] + x] =
          static_cast<std::uint8_t>(spec.color                 ? (*spec.color)[0]
                                    : (number >> bit & 1) != 0 ? 235
                                                               : 16);
    }
  for (int plane = 1; plane < 3 && frame.data[plane] != nullptr; ++plane)
    for (int y = 0; y < (frame.height + 1) / 2; ++y)
      std::memset(frame.data[plane] + y * frame.linesize[plane],
                  spec.color ? (*spec.color)[static_cast<std::size_t>(plane)] : 128,
                  static_cast<std::size_t>((frame.width + 1) / 2));
}

void tag_rotation(AVStream* stream, int degrees) {
  if (degrees == 0) return;
  std::int32_t matrix[9];
  av_display_rotation_set(matrix, degrees);
#if LIBAVCODEC_VERSION_INT >= AV_VERSION_INT(60, 31, 0)  // FFmpeg 6.1
  AVPacketSideData* side = av_packet_side_data_new(&stream->codecpar->coded_side_data,
                                                   &stream->codecpar->nb_coded_side_data,
                                                   AV_PKT_DATA_DISPLAYMATRIX, sizeof matrix, 0);
  std::uint8_t* data = side != nullptr ? side->data : nullptr;
#else
  std::uint8_t* data = av_stream_new_side_data(stream, AV_PKT_DATA_DISPLAYMATRIX, sizeof matrix);
#endif
  if (data == nullptr) throw std::bad_alloc();
  std::memcpy(data, matrix, sizeof matrix);
}

struct FreeFfmpeg {
  void operator()(AVFormatContext* c) const {
    avio_closep(&c->pb);
    avformat_free_context(c);
  }
  void operator()(AVCodecContext* c) const { avcodec_free_context(&c); }
  void operator()(AVPacket* p) const { av_packet_free(&p); }
  void operator()(AVFrame* f) const { av_frame_free(&f); }
};
template <class T>
using Owned = std::unique_ptr<T, FreeFfmpeg>;

Owned<AVFormatContext> make_container(const std::filesystem::path& path) {
  AVFormatContext* container = nullptr;
  check(avformat_alloc_output_context2(&container, nullptr, nullptr, path.c_str()), "container");
  return Owned<AVFormatContext>(container);
}

AVPixelFormat pixel_format(const ClipSpec& spec) {
  if (spec.codec == "gif") return AV_PIX_FMT_GRAY8;
  if (spec.codec == "mjpeg") return AV_PIX_FMT_YUVJ420P;
  return AV_PIX_FMT_YUV420P;
}

/// `global_header`: the container stores the codec's header, not its packets.
Owned<AVCodecContext> open_encoder(const ClipSpec& spec, bool global_header) {
  const AVCodec* encoder = avcodec_find_encoder_by_name(spec.codec.c_str());
  if (encoder == nullptr) throw std::runtime_error("clip writer: no encoder " + spec.codec);
  Owned<AVCodecContext> codec(avcodec_alloc_context3(encoder));
  codec->width = spec.width;
  codec->height = spec.height;
  codec->time_base = spec.times_ms.empty() ? AVRational{1, spec.fps} : AVRational{1, 1000};
  if (spec.times_ms.empty()) codec->framerate = {spec.fps, 1};
  codec->gop_size = spec.gop;
  if ((encoder->capabilities & AV_CODEC_CAP_DELAY) != 0) codec->max_b_frames = spec.b_frames;
  codec->bit_rate = std::int64_t{40} * spec.width * spec.height;
  codec->strict_std_compliance = FF_COMPLIANCE_UNOFFICIAL;
  codec->thread_count = 1;
  codec->pix_fmt = pixel_format(spec);
  if (spec.bt709) codec->colorspace = AVCOL_SPC_BT709;
  if (!spec.transfer.empty()) {
    codec->color_trc = static_cast<AVColorTransferCharacteristic>(
        av_color_transfer_from_name(spec.transfer.c_str()));
    codec->color_primaries = AVCOL_PRI_BT2020;
  }
  codec->sample_aspect_ratio = {spec.pixel_aspect[0], spec.pixel_aspect[1]};
  if (spec.full_range) codec->color_range = AVCOL_RANGE_JPEG;
  if (spec.codec == "libx264") av_opt_set(codec->priv_data, "x264-params", "scenecut=0", 0);
  if (global_header) codec->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
  check(avcodec_open2(codec.get(), encoder, nullptr), "encoder");
  return codec;
}

/// Adds the stream, opens the file and writes its header.
AVStream* begin_file(AVFormatContext& container, const AVCodecContext& codec,
                     const std::filesystem::path& path, const ClipSpec& spec) {
  AVStream* stream = avformat_new_stream(&container, nullptr);
  check(avcodec_parameters_from_context(stream->codecpar, &codec), "parameters");
  stream->time_base = codec.time_base;
  if (spec.times_ms.empty()) stream->avg_frame_rate = codec.framerate;
  stream->id = spec.stream_id;
  stream->sample_aspect_ratio = codec.sample_aspect_ratio;
  tag_rotation(stream, spec.rotation);
  check(avio_open(&container.pb, path.c_str(), AVIO_FLAG_WRITE), "file");
  AVDictionary* options = nullptr;
  if (spec.index_first) av_dict_set(&options, "movflags", "+faststart", 0);
  const int status = avformat_write_header(&container, &options);
  av_dict_free(&options);
  check(status, "header");
  return stream;
}

Owned<AVFrame> make_frame(const AVCodecContext& codec, int index, const ClipSpec& spec) {
  Owned<AVFrame> frame(av_frame_alloc());
  frame->format = codec.pix_fmt;
  frame->width = spec.width;
  frame->height = spec.height;
  frame->quality = codec.global_quality;
  check(av_frame_get_buffer(frame.get(), 0), "frame");
  paint(*frame, index, spec);
  frame->pts = spec.times_ms.empty() ? spec.first_time + index
                                     : spec.times_ms.at(static_cast<std::size_t>(index));
  return frame;
}

/// Encodes the frame (null: flushes the encoder) and writes the packets that are complete.
void encode(AVFormatContext& container, AVCodecContext& codec, const AVStream& stream,
            const AVFrame* frame, const ClipSpec& spec) {
  check(avcodec_send_frame(&codec, frame), "encoding");
  const Owned<AVPacket> packet(av_packet_alloc());
  for (;;) {
    const int status = avcodec_receive_packet(&codec, packet.get());
    if (status == AVERROR(EAGAIN) || status == AVERROR_EOF) return;
    check(status, "encoding");
    if (packet->duration == 0 && spec.times_ms.empty()) packet->duration = 1;
    av_packet_rescale_ts(packet.get(), codec.time_base, stream.time_base);
    packet->stream_index = 0;
    check(av_interleaved_write_frame(&container, packet.get()), "writing");
  }
}

}  // namespace

bool has_encoder(const std::string& codec) {
  return avcodec_find_encoder_by_name(codec.c_str()) != nullptr;
}

void write_clip(const std::filesystem::path& path, const ClipSpec& spec) {
  av_log_set_level(AV_LOG_QUIET);
  const auto container = make_container(path);
  const auto codec = open_encoder(spec, (container->oformat->flags & AVFMT_GLOBALHEADER) != 0);
  const AVStream* stream = begin_file(*container, *codec, path, spec);
  for (int i = 0; i < spec.frames; ++i)
    encode(*container, *codec, *stream, make_frame(*codec, i, spec).get(), spec);
  encode(*container, *codec, *stream, nullptr, spec);
  check(av_write_trailer(container.get()), "trailer");
}

pllava::Index shown_index(const pllava::Frame& frame) {
  pllava::Index number = 0;
  for (int bit = 0; bit < kColumns * kRows; ++bit) {
    const pllava::Index x = (2 * (bit % kColumns) + 1) * frame.width / (2 * kColumns);
    const pllava::Index y = (2 * (bit / kColumns) + 1) * frame.height / (2 * kRows);
    if (frame.data[y * frame.stride + x * 3] > 127) number |= pllava::Index{1} << bit;
  }
  return number;
}

}  // namespace test
