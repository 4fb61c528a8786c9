#include "still_image.hpp"

#include <cstring>
#include <limits>

#include "pllava/error.hpp"

namespace pllava::detail {

FfmpegHandle<AVFrame> decode_still_image(Bytes file, AVCodecID id, const std::string& name,
                                         Index max_pixels) {
  const auto fail = [&](const std::string& problem) { throw MediaError(name, problem); };
  const AVCodec* const decoder = avcodec_find_decoder(id);
  if (decoder == nullptr)
    fail(std::string("this FFmpeg has no decoder for ") + avcodec_get_name(id));
  if (file.size() > static_cast<std::size_t>(std::numeric_limits<int>::max()))
    fail("an image of more than 2 GiB");
  const FfmpegHandle<AVCodecContext> codec(avcodec_alloc_context3(decoder));
  const FfmpegHandle<AVPacket> packet(av_packet_alloc());
  FfmpegHandle<AVFrame> frame(av_frame_alloc());
  if (!codec || !packet || !frame || av_new_packet(packet.get(), static_cast<int>(file.size())) < 0)
    throw OutOfMemoryError(name, file.size());
  std::memcpy(packet->data, file.data(), file.size());
  codec->max_pixels = max_pixels;
  codec->thread_count = 1;  // frame threads would return the image at the next one
  int status = avcodec_open2(codec.get(), decoder, nullptr);
  if (status >= 0) status = avcodec_send_packet(codec.get(), packet.get());
  if (status >= 0) status = avcodec_send_packet(codec.get(), nullptr);
  if (status >= 0) status = avcodec_receive_frame(codec.get(), frame.get());
  if (status < 0) fail("the image cannot be decoded (" + ffmpeg_error_text(status) + ")");
  return frame;
}

}  // namespace pllava::detail
