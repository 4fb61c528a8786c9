// Conversion of high dynamic range (PQ and HLG) to sRGB.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "ffmpeg_handles.hpp"
#include "pllava/media/image.hpp"

namespace pllava::detail {

/// Whether the frame has the transfer function PQ (SMPTE ST 2084) or HLG (ARIB STD-B67).
bool is_high_dynamic_range(const AVFrame& frame);

/// Tone mapping of ITU-R BT.2390 (EETF) from a peak of 1000 cd/m² to a reference white of 203
/// cd/m², by the largest channel; then BT.2020 primaries are converted to BT.709, and sRGB is
/// encoded.
class ToneMapper {
 public:
  /// For the transfer function and the primaries of `frame`.
  explicit ToneMapper(const AVFrame& frame);

  /// Whether it was made for a frame like this one.
  bool fits(const AVFrame& frame) const {
    return frame.color_trc == transfer_ && frame.color_primaries == primaries_;
  }

  /// Dense RGB from RGB of 16 bits (AV_PIX_FMT_RGB48) with the transfer function.
  Frame map(const AVFrame& rgb48) const;

 private:
  AVColorTransferCharacteristic transfer_;
  AVColorPrimaries primaries_;
  std::vector<float> linear_;          // of a 16-bit value; for HLG the light of the scene
  std::vector<float> gain_;            // by the square root of the largest channel
  std::vector<std::uint8_t> encoded_;  // sRGB by the square root of the light
};

}  // namespace pllava::detail
