// Makes video files whose frames show their own number, so that a test knows which one it got.
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
  int gop = 10;        ///< a keyframe at least every so many frames
  int b_frames = 2;    ///< in a row, where the codec has them
  int first_time = 0;  ///< of the first frame, in frames; containers hide what is before 0
  /// Presentation times in milliseconds instead of a constant rate.
  std::vector<std::int64_t> times_ms = {};
  int rotation = 0;            ///< degrees clockwise, asked for in the container
  bool index_in_front = true;  ///< mp4, mov: before the frames, where truncation spares it
  bool bt709 = false;          ///< tagged so; otherwise without a tag
  bool full_range = false;     ///< tagged so
  bool plain = false;          ///< every frame is Y = 128, U = 64, V = 192 instead of its number
};

/// Whether this FFmpeg can encode with `codec`.
bool has_encoder(const std::string& codec);

/// Writes the clip into the container that the file's extension names.
void write_clip(const std::filesystem::path& path, const ClipSpec& spec);

/// The number that a frame of `write_clip` shows (12 blocks, one a bit), before any rotation.
pllava::Index number_shown(const pllava::Frame& frame);

}  // namespace test
