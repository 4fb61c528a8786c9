// Writes video files whose frames show their own index, so that a test can identify them.
#pragma once

#include <cstdint>
#include <filesystem>
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
  int gop = 10;        ///< maximum distance of keyframes, in frames
  int b_frames = 2;    ///< consecutive B-frames, if the codec supports them
  int first_time = 0;  ///< of the first frame, in frames; containers hide frames before 0
  /// Presentation times in milliseconds instead of a constant rate.
  std::vector<std::int64_t> times_ms = {};
  int rotation = 0;         ///< degrees clockwise, in the display matrix
  bool index_first = true;  ///< mp4, mov: index before the frames, so that truncation keeps it
  bool bt709 = false;       ///< tag the color matrix; otherwise untagged
  bool full_range = false;  ///< tag the range
  bool uniform = false;     ///< every frame is Y = 128, U = 64, V = 192 instead of its index
};

/// Whether this FFmpeg can encode with `codec`.
bool has_encoder(const std::string& codec);

/// Writes the clip into the container that the file's extension names.
void write_clip(const std::filesystem::path& path, const ClipSpec& spec);

/// The index that a frame of `write_clip` shows as 12 blocks of one bit, before rotation.
pllava::Index number_shown(const pllava::Frame& frame);

}  // namespace test
