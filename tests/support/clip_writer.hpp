// Writes video files whose frames show their index, so that a test can identify a frame.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "pllava/media/image.hpp"

namespace test {

struct ClipSpec {
  std::string codec = "mpeg4";  ///< FFmpeg's name of an encoder
  int width = 96;
  int height = 64;
  int frames = 30;
  int fps = 25;
  int gop = 10;        ///< maximum distance between keyframes, in frames
  int b_frames = 2;    ///< consecutive B-frames, if the codec supports them
  int first_time = 0;  ///< of the first frame, in frames; containers hide frames before 0
  /// Presentation times in milliseconds instead of a constant rate.
  std::vector<std::int64_t> times_ms = {};
  int stream_id = 0;             ///< PID in MPEG-TS; 0: the muxer's choice
  int rotation = 0;              ///< degrees clockwise, in the display matrix
  bool index_first = true;       ///< mp4, mov: index before the frames, so that truncation keeps it
  bool bt709 = false;            ///< tag the color matrix as BT.709; otherwise untagged
  bool full_range = false;       ///< tag the range as full; otherwise untagged
  std::string transfer = {};     ///< FFmpeg's name of a transfer function, with BT.2020's primaries
  int pixel_aspect[2] = {1, 1};  ///< width to height of a pixel
  /// Y, U and V of every pixel: the frames show no index.
  std::optional<std::array<int, 3>> color = {};
};

/// Whether this FFmpeg can encode with `codec`.
bool has_encoder(const std::string& codec);

/// Writes the clip in the container format of the file extension.
void write_clip(const std::filesystem::path& path, const ClipSpec& spec);

/// The index that a frame of `write_clip` shows, as 12 blocks of one bit each. The frame must not
/// be rotated.
pllava::Index shown_index(const pllava::Frame& frame);

}  // namespace test
