// Rotation and mirroring that a container requests for its frames.
#pragma once

#include "ffmpeg_handles.hpp"
#include "pllava/media/image.hpp"

namespace pllava::detail {

/// Maps stored pixels to displayed pixels: optional transposition, then optional mirroring of the
/// columns and of the rows.
struct Orientation {
  bool transpose = false;
  bool mirror_x = false;
  bool mirror_y = false;

  bool identity() const { return !transpose && !mirror_x && !mirror_y; }
  /// Rotation in degrees clockwise: 0, 90, 180 or 270.
  int degrees() const {
    return transpose ? (mirror_x || !mirror_y ? 90 : 270) : mirror_y ? 180 : 0;
  }

  /// The orientation in the display matrix of a stream. Angles more than one degree away from a
  /// multiple of 90 are ignored.
  static Orientation of(const AVStream& stream);

  /// A copy of a dense or strided RGB frame with this orientation applied.
  Frame apply(const Frame& frame) const;
};

}  // namespace pllava::detail
