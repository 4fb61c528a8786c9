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
          static_cast<std::uint8_t>(spec.uniform               ? 128
                                    : (number >> bit & 1) != 0 ? 235
                                                               : 16);
    }
  for (int plane = 1; plane < 3 && frame.data[plane] != nullptr; ++plane)
    for (int y = 0; y < (frame.height + 1) / 2; ++y)
      std::memset(frame.data[plane] + y * frame.linesize[plane],
                  spec.uniform ? (plane == 1 ? 64 : 192) : 128,
                  static_cast<std::size_t>((frame.width + 1) / 2));
}

void tag_rotation(AVStream* stream, int degrees) {
  if (degrees == 0) return;
  std::int32_t matrix[9];
  av_display_rotation_set(matrix, degrees);
#if LIBAVFORMAT_VERSION_MAJOR >= 61
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

}  // namespace

bool has_encoder(const std::string& codec) {
  return avcodec_find_encoder_by_name(codec.c_str()) != nullptr;
}

void write_clip(const std::filesystem::path& path, const ClipSpec& spec) {
  av_log_set_level(AV_LOG_QUIET);
  const AVCodec* encoder = avcodec_find_encoder_by_name(spec.codec.c_str());
  if (encoder == nullptr) throw std::runtime_error("clip writer: no encoder " + spec.codec);

  AVFormatContext* raw = nullptr;
  check(avformat_alloc_output_context2(&raw, nullptr, nullptr, path.c_str()), "container");
  const std::unique_ptr<AVFormatContext, void (*)(AVFormatContext*)> output(
      raw, [](AVFormatContext* c) {
        avio_closep(&c->pb);
        avformat_free_context(c);
      });
  AVStream* stream = avformat_new_stream(output.get(), nullptr);
  const std::unique_ptr<AVCodecContext, void (*)(AVCodecContext*)> codec(
      avcodec_alloc_context3(encoder), [](AVCodecContext* c) { avcodec_free_context(&c); });
  codec->width = spec.width;
  codec->height = spec.height;
  codec->time_base = spec.times_ms.empty() ? AVRational{1, spec.fps} : AVRational{1, 1000};
  if (spec.times_ms.empty()) codec->framerate = {spec.fps, 1};
  codec->gop_size = spec.gop;
  if ((encoder->capabilities & AV_CODEC_CAP_DELAY) != 0) codec->max_b_frames = spec.b_frames;
  codec->bit_rate = std::int64_t{40} * spec.width * spec.height;
  codec->strict_std_compliance = FF_COMPLIANCE_UNOFFICIAL;
  codec->thread_count = 1;
  codec->pix_fmt = spec.codec == "gif"     ? AV_PIX_FMT_GRAY8
                   : spec.codec == "mjpeg" ? AV_PIX_FMT_YUVJ420P
                                           : AV_PIX_FMT_YUV420P;
  if (spec.bt709) codec->colorspace = AVCOL_SPC_BT709;
  if (spec.full_range) codec->color_range = AVCOL_RANGE_JPEG;
  if (spec.codec == "libx264") av_opt_set(codec->priv_data, "x264-params", "scenecut=0", 0);
  if ((output->oformat->flags & AVFMT_GLOBALHEADER) != 0)
    codec->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
  check(avcodec_open2(codec.get(), encoder, nullptr), "encoder");
  check(avcodec_parameters_from_context(stream->codecpar, codec.get()), "parameters");
  stream->time_base = codec->time_base;
  if (spec.times_ms.empty()) stream->avg_frame_rate = codec->framerate;
  tag_rotation(stream, spec.rotation);

  check(avio_open(&output->pb, path.c_str(), AVIO_FLAG_WRITE), "file");
  AVDictionary* options = nullptr;
  if (spec.index_first) av_dict_set(&options, "movflags", "+faststart", 0);
  const int header = avformat_write_header(output.get(), &options);
  av_dict_free(&options);
  check(header, "header");

  const std::unique_ptr<AVPacket, void (*)(AVPacket*)> packet(
      av_packet_alloc(), [](AVPacket* p) { av_packet_free(&p); });
  const auto write_packets = [&] {
    for (;;) {
      const int status = avcodec_receive_packet(codec.get(), packet.get());
      if (status == AVERROR(EAGAIN) || status == AVERROR_EOF) return;
      check(status, "encoding");
      if (packet->duration == 0 && spec.times_ms.empty()) packet->duration = 1;
      av_packet_rescale_ts(packet.get(), codec->time_base, stream->time_base);
      packet->stream_index = 0;
      check(av_interleaved_write_frame(output.get(), packet.get()), "writing");
    }
  };
  for (int i = 0; i < spec.frames; ++i) {
    const std::unique_ptr<AVFrame, void (*)(AVFrame*)> frame(av_frame_alloc(),
                                                             [](AVFrame* f) { av_frame_free(&f); });
    frame->format = codec->pix_fmt;
    frame->width = spec.width;
    frame->height = spec.height;
    frame->quality = codec->global_quality;
    check(av_frame_get_buffer(frame.get(), 0), "frame");
    paint(*frame, i, spec);
    frame->pts =
        spec.times_ms.empty() ? spec.first_time + i : spec.times_ms.at(static_cast<std::size_t>(i));
    check(avcodec_send_frame(codec.get(), frame.get()), "encoding");
    write_packets();
  }
  check(avcodec_send_frame(codec.get(), nullptr), "encoding");
  write_packets();
  check(av_write_trailer(output.get()), "trailer");
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
