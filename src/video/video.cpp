// Video: checks the options, opens the right kind of source and assembles clips.
#include "pllava/media/video.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <memory>
#include <mutex>
#include <sstream>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "byte_stream.hpp"
#include "ffmpeg_source.hpp"
#include "image_files.hpp"
#include "image_pages.hpp"
#include "image_source.hpp"
#include "pipe.hpp"
#include "source.hpp"
#include "webp_source.hpp"

extern "C" {
#include <libavutil/log.h>
}

namespace pllava {

namespace fs = std::filesystem;

namespace {

using detail::kExpectedSource;
using detail::MediaInput;

/// Applies VideoOptions::silence_ffmpeg.
void silence_ffmpeg() {
  static std::once_flag once;
  std::call_once(once, [] {
    if (av_log_get_level() == AV_LOG_INFO) av_log_set_level(AV_LOG_QUIET);
  });
}

void check_options(const VideoOptions& o) {
  if (!(o.fps >= 0.0) || std::isinf(o.fps))
    throw ArgumentError("VideoOptions::fps must be a finite number, 0 for all frames");
  if (o.threads < 1 || o.threads > 64)
    throw ArgumentError("VideoOptions::threads is " + std::to_string(o.threads) +
                        "; expected 1 to 64");
  if (o.max_pixels < 1 || o.max_pixels > (Index{1} << 40))
    throw ArgumentError("VideoOptions::max_pixels is " + std::to_string(o.max_pixels) +
                        "; expected at least 1");
  if (o.stream < -1)
    throw ArgumentError("VideoOptions::stream is " + std::to_string(o.stream) +
                        "; expected 0 or more, or -1 for the default");
  if (!(o.timeout > 0.0) || o.timeout > 1e6)
    throw ArgumentError("VideoOptions::timeout must be a positive number of seconds");
  const Reconnect& reconnect = o.reconnect;
  if (!(reconnect.first_delay >= 0) || !std::isfinite(reconnect.first_delay) ||
      !(reconnect.max_delay >= reconnect.first_delay) || !std::isfinite(reconnect.max_delay) ||
      reconnect.attempts < -1)
    throw ArgumentError(
        "VideoOptions::reconnect: expected 0 <= first_delay <= max_delay in seconds, and attempts "
        "of -1 or more");
}

bool is_url(const std::string& source) {
  const std::size_t end = source.find("://");
  if (end == std::string::npos || end == 0) return false;
  return std::all_of(source.begin(), source.begin() + static_cast<std::ptrdiff_t>(end), [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '+' || c == '-' || c == '.';
  });
}

/// A file in memory: an image or a video.
std::unique_ptr<Video::Source> open_memory(std::vector<std::byte> file, const std::string& name,
                                           const VideoOptions& options) {
  if (file.empty()) throw MediaError(name, std::string("is empty; ") + kExpectedSource);
  const auto bytes = std::make_shared<const std::vector<std::byte>>(std::move(file));
  std::istringstream head(std::string(reinterpret_cast<const char*>(bytes->data()),
                                      std::min<std::size_t>(bytes->size(), 65536)));
  if (detail::is_animated_webp(*bytes)) return detail::make_webp_source(name, options, bytes);
  if (detail::is_still_image(*bytes) && !detail::is_animated_png(head))
    return detail::make_image_source(name, options, bytes);
  return detail::make_ffmpeg_source(name, options, bytes);
}

/// Replaces "%20" by a blank, and so on.
std::string without_percent_codes(const std::string& text) {
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool is_code = text[i] == '%' && i + 2 < text.size() &&
                         std::isxdigit(static_cast<unsigned char>(text[i + 1])) != 0 &&
                         std::isxdigit(static_cast<unsigned char>(text[i + 2])) != 0;
    result += is_code ? static_cast<char>(std::stoi(text.substr(i + 1, 2), nullptr, 16)) : text[i];
    if (is_code) i += 2;
  }
  return result;
}

/// Where the authority of a URL begins, after "://".
std::size_t authority_of(const std::string& url) {
  return url.find("://") + 3;
}

std::unique_ptr<Video::Source> open_source(const std::string& source, const VideoOptions& options) {
  constexpr std::string_view kFileScheme = "file://";
  const bool file_url = source.starts_with(kFileScheme);
  if (is_url(source) && !file_url)
    return detail::make_ffmpeg_source(without_secrets(source), options, MediaInput::Kind::url,
                                      source);

  if (options.follow && (source == "-" || detail::is_fifo(source)))
    return detail::make_ffmpeg_source(source == "-" ? "standard input" : source, options,
                                      MediaInput::Kind::pipe, source);
  if (source == "-")
    return open_memory(detail::read_pipe(source, "standard input", options.cancel),
                       "standard input", options);
  std::error_code error;
  fs::path path = file_url ? source.substr(kFileScheme.size()) : source;
  if (file_url && !fs::exists(path, error)) path = without_percent_codes(path.string());
  const fs::file_status status = fs::status(path, error);
  if (status.type() == fs::file_type::not_found) {
    if (auto files = detail::match_file_pattern(path, source))
      return detail::make_image_source(source, options, *files);
    throw MediaError(source, std::string("no such file or directory; ") + kExpectedSource);
  }
  if (error) throw MediaError(source, error.message() + "; " + kExpectedSource);
  if (fs::is_directory(status))
    return detail::make_image_source(source, options, detail::list_image_files(path, source));
  if (fs::is_character_file(status))
    return detail::make_ffmpeg_source(source, options, MediaInput::Kind::camera, path.string());
  if (fs::is_fifo(status))
    return open_memory(detail::read_pipe(path.string(), source, options.cancel), source, options);
  if (options.follow)
    return detail::make_ffmpeg_source(source, options, MediaInput::Kind::growing, path.string());
  if (fs::is_regular_file(status)) {
    std::array<char, 32> head{};
    std::ifstream file(path, std::ios::binary);
    if (!file) throw MediaError(source, std::string("the file cannot be read; ") + kExpectedSource);
    file.read(head.data(), head.size());
    const auto size = static_cast<std::size_t>(file.gcount());
    if (size == 0) throw MediaError(source, std::string("the file is empty; ") + kExpectedSource);
    const std::string extension = detail::lower_extension(path);
    const bool motion_jpeg = extension == ".mjpeg" || extension == ".mjpg";
    const auto bytes = std::as_bytes(std::span(head.data(), size));
    if (detail::is_animated_webp(bytes))
      return detail::make_webp_source(
          source, options,
          std::make_shared<const std::vector<std::byte>>(detail::read_image_file(path)));
    const bool still = detail::is_still_image(bytes);
    file.clear();
    file.seekg(0);
    if (still && !motion_jpeg && !detail::is_animated_png(file))
      return detail::make_image_source(source, options, {{path}, {}});
  }
  return detail::make_ffmpeg_source(source, options, MediaInput::Kind::file,
                                    "file:" + path.string());
}

/// Fetches the frames of the indices that `choose` returns; each distinct frame is decoded once.
template <class Choose>
Clip gather(Video::Source& source, const FrameTransform& transform, const CancelToken& cancel,
            Choose&& choose) {
  for (;;) {
    source.build_index(cancel);
    const std::vector<Index> indices = choose();
    std::vector<Index> distinct = indices;
    std::sort(distinct.begin(), distinct.end());
    distinct.erase(std::unique(distinct.begin(), distinct.end()), distinct.end());
    std::vector<Frame> frames;
    frames.reserve(distinct.size());
    if (!source.fetch(distinct, transform, cancel, frames)) continue;

    Clip clip;
    clip.source = source.name();
    clip.fps = source.info().fps;
    clip.total_frames = source.info().frame_count;
    clip.warnings = source.info().warnings;
    for (const Index i : indices)
      clip.frames.push_back(frames[static_cast<std::size_t>(
          std::lower_bound(distinct.begin(), distinct.end(), i) - distinct.begin())]);
    return clip;
  }
}

/// The next frames of a source that cannot be read again.
Clip take(Video::Source& source, Index n, const SampleOptions& options) {
  if (n < 1) throw ArgumentError(source.name() + ": cannot take " + std::to_string(n) + " frames");
  if (!(options.live_seconds > 0.0) || std::isinf(options.live_seconds))
    throw ArgumentError("SampleOptions::live_seconds must be a positive number");
  if (options.bounds)
    throw ArgumentError(source.name() + ": bounds need a source that can be read again");
  Clip clip;
  clip.source = source.name();
  clip.fps = source.info().fps;
  clip.frames = source.take(n, options);
  clip.warnings = source.info().warnings;
  return clip;
}

}  // namespace

std::string without_secrets(const std::string& source) {
  if (!is_url(source)) return source;
  std::string text = source;
  const std::size_t authority = authority_of(text);
  const std::size_t query = std::min(text.find_first_of("?#", authority), text.size());
  for (std::size_t at = query; (at = text.find('=', at)) != std::string::npos;) {
    const std::size_t end = std::min(text.find_first_of("&;#", at), text.size());
    text.replace(at + 1, end - at - 1, "***");
    at += 4;
  }
  const std::size_t path = std::min(text.find_first_of("/?#", authority), text.size());
  const std::size_t user_end = text.rfind('@', path);
  if (user_end != std::string::npos && user_end > authority)
    text.replace(authority, user_end - authority, "***");
  return text;
}

Video::Video(std::unique_ptr<Source> source) : impl_(source.release()) {}
Video::Video(Video&&) noexcept = default;
Video& Video::operator=(Video&&) noexcept = default;
Video::~Video() = default;

/// In a forked child nothing is closed: that would wait for threads that do not exist there.
void Video::Close::operator()(Source* source) const noexcept {
  if (source->is_own()) delete source;
}

Video::Source& Video::usable() const {
  if (!impl_->is_own())
    throw MediaError(impl_->name(), "was opened before fork; open it in the child process");
  return *impl_;
}

Video Video::open(const std::string& source, const VideoOptions& options) {
  check_options(options);
  if (options.silence_ffmpeg) silence_ffmpeg();
  return Video(open_source(source, options));
}

Video Video::open(std::vector<std::byte> file, const std::string& name,
                  const VideoOptions& options) {
  check_options(options);
  if (options.silence_ffmpeg) silence_ffmpeg();
  return Video(open_memory(std::move(file), name, options));
}

const VideoInfo& Video::info() const noexcept {
  return impl_->info();
}

const std::string& Video::source() const noexcept {
  return impl_->name();
}

Clip Video::sample(Index n, const SampleOptions& options) {
  if (!usable().seekable()) return take(*impl_, n, options);
  return gather(*impl_, options.transform, options.cancel, [&] {
    try {
      return impl_->choose(n, options);
    } catch (const ArgumentError& e) {
      throw ArgumentError(impl_->name() + ": " + e.what());
    }
  });
}

Clip Video::frames_at(std::span<const Index> indices, CancelToken cancel) {
  Index announced = 0;  // frames, before decoding showed that some are damaged
  return gather(usable(), {}, cancel, [&] {
    const Index count = impl_->info().frame_count;
    announced = std::max(announced, count);
    for (const Index i : indices)
      if (i >= count && i < announced)
        throw MediaError(impl_->name(), "frame " + std::to_string(i) + " cannot be decoded; " +
                                            std::to_string(count) + " frames can");
    for (const Index i : indices)
      if (i < 0 || i >= count)
        throw ArgumentError(impl_->name() + ": frame index " + std::to_string(i) +
                            " is out of range; expected 0 to " + std::to_string(count - 1));
    return std::vector<Index>(indices.begin(), indices.end());
  });
}

std::optional<Frame> Video::next(const CancelToken& cancel) {
  std::optional<Frame> frame = usable().next(cancel);
  if (frame) impl_->count_delivered();
  return frame;
}

SourceStats Video::stats() const {
  return impl_->stats();
}

void Video::rewind() {
  usable().rewind();
}

Index Video::decoded_frames() const noexcept {
  return impl_->decoded_frames();
}

}  // namespace pllava
