// Owning handles of FFmpeg's objects.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <utility>

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/error.h>
#include <libswscale/swscale.h>
}

namespace pllava::detail {

struct FfmpegDeleter {
  void operator()(AVFormatContext* p) const { avformat_close_input(&p); }
  void operator()(AVCodecContext* p) const { avcodec_free_context(&p); }
  void operator()(AVPacket* p) const { av_packet_free(&p); }
  void operator()(AVFrame* p) const { av_frame_free(&p); }
  void operator()(SwsContext* p) const { sws_freeContext(p); }
  void operator()(AVIOContext* p) const {
    av_freep(&p->buffer);
    avio_context_free(&p);
  }
};

#if LIBAVFORMAT_VERSION_MAJOR < 59  // FFmpeg 4
using InputFormat = AVInputFormat;
using SideDataSize = int;
inline int avformat_index_get_entries_count(const AVStream* stream) {
  return stream->nb_index_entries;
}
inline const AVIndexEntry* avformat_index_get_entry(AVStream* stream, int i) {
  return stream->index_entries + i;
}
#else
using InputFormat = const AVInputFormat;
using SideDataSize = std::size_t;
#endif

/// Unique owner of an FFmpeg object.
template <class T>
using FfmpegHandle = std::unique_ptr<T, FfmpegDeleter>;

/// Unique owner of an AVDictionary, which FFmpeg functions replace in place.
class FfmpegDictionary {
 public:
  FfmpegDictionary() = default;
  FfmpegDictionary(FfmpegDictionary&& other) noexcept
      : entries_(std::exchange(other.entries_, nullptr)) {}
  FfmpegDictionary& operator=(FfmpegDictionary&&) = delete;
  ~FfmpegDictionary() { av_dict_free(&entries_); }

  void set(const char* key, const std::string& value) {
    av_dict_set(&entries_, key, value.c_str(), 0);
  }
  bool has(const char* key) const { return av_dict_get(entries_, key, nullptr, 0) != nullptr; }
  AVDictionary** address() noexcept { return &entries_; }
  /// Gives up ownership.
  AVDictionary* release() noexcept { return std::exchange(entries_, nullptr); }
  /// Takes ownership of `entries`.
  void reset(AVDictionary* entries) noexcept {
    av_dict_free(&entries_);
    entries_ = entries;
  }

 private:
  AVDictionary* entries_ = nullptr;
};

inline std::string ffmpeg_error_text(int error) {
  char text[AV_ERROR_MAX_STRING_SIZE] = {};
  av_strerror(error, text, sizeof text);
  return text;
}

}  // namespace pllava::detail
