#include "ffmpeg_source.hpp"

#include <utility>

#include "backoff.hpp"
#include "file_source.hpp"
#include "live_source.hpp"

namespace pllava::detail {

namespace {

std::unique_ptr<Video::Source> open(MediaInput input) {
  auto owned = std::make_unique<MediaInput>(std::move(input));
  std::unique_ptr<FrameDecoder> decoder;
  for (Backoff backoff(owned->options.reconnect); decoder == nullptr;) {
    try {
      decoder = std::make_unique<FrameDecoder>(*owned);
    } catch (const PermanentMediaError&) {
      throw;
    } catch (const MediaError&) {
      if (!owned->may_wait() || !backoff.wait([&] { return owned->cancelled(); })) {
        owned->check_cancelled();
        throw;
      }
    }
  }
  return decoder->seekable() ? make_file_source(std::move(owned), std::move(decoder))
                             : make_live_source(std::move(owned), std::move(decoder));
}

}  // namespace

std::unique_ptr<Video::Source> make_ffmpeg_source(std::string name, const VideoOptions& options,
                                                  MediaInput::Kind kind, std::string address) {
  return open(
      {.name = std::move(name), .kind = kind, .address = std::move(address), .options = options});
}

std::unique_ptr<Video::Source> make_ffmpeg_source(
    std::string name, const VideoOptions& options,
    std::shared_ptr<const std::vector<std::byte>> bytes) {
  return open({.name = std::move(name),
               .kind = MediaInput::Kind::memory,
               .address = {},
               .options = options,
               .bytes = std::move(bytes)});
}

}  // namespace pllava::detail
