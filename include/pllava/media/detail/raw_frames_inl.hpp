// Definitions of raw_frames.hpp.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>

#include "pllava/media/detail/rgb_frame.hpp"
#include "pllava/media/detail/yuv.hpp"
#include "pllava/media/raw_frames.hpp"

namespace pllava {
namespace detail {

/// Rows of a checked plane.
class Rows {
 public:
  /// Throws MediaError unless the plane can have `rows` rows of `row_bytes`.
  Rows(const Plane& plane, Index row_bytes, const char* name) {
    data_ = static_cast<const std::uint8_t*>(plane.data);
    stride_ = plane.stride == 0 ? row_bytes : plane.stride;
    if (data_ == nullptr) throw MediaError("", std::string(name) + " without pixels");
    if (stride_ < row_bytes || stride_ > kMaxStride)
      throw MediaError("", "rows of " + std::string(name) + " are " + std::to_string(stride_) +
                               " bytes apart; expected at least " + std::to_string(row_bytes));
  }
  const std::uint8_t* operator[](Index row) const { return data_ + row * stride_; }

 private:
  const std::uint8_t* data_;
  Index stride_;
};

/// Writes one RGB pixel.
inline void store_yuv(std::uint8_t* rgb, const YuvCoefficients& f, int y, int cb, int cr) {
  const std::int64_t luma = std::int64_t{f.luma_scale} * (y - f.luma_offset) + (1 << 15);
  const std::int64_t u = cb - 128;
  const std::int64_t v = cr - 128;
  const auto clip = [](std::int64_t sum) {
    return static_cast<std::uint8_t>(std::clamp<std::int64_t>(sum >> 16, 0, 255));
  };
  rgb[0] = clip(luma + f.red_cr * v);
  rgb[1] = clip(luma - f.green_cb * u - f.green_cr * v);
  rgb[2] = clip(luma + f.blue_cb * u);
}

}  // namespace detail

PLLAVA_INLINE Frame rgb_from_nv12(const Plane& luma, const Plane& chroma, Index width, Index height,
                                  YuvEncoding encoding) {
  detail::check_sides(width, height);
  const detail::Rows y(luma, width, "an NV12 luma plane");
  const detail::Rows uv(chroma, (width + 1) / 2 * 2, "an NV12 chroma plane");
  const detail::YuvCoefficients f = detail::yuv_coefficients(encoding);
  std::uint8_t* out = nullptr;
  Frame frame = detail::make_rgb_frame(width, height, out);
  for (Index row = 0; row < height; ++row)
    for (Index x = 0; x < width; ++x, out += 3) {
      const std::uint8_t* pair = uv[row / 2] + x / 2 * 2;
      detail::store_yuv(out, f, y[row][x], pair[0], pair[1]);
    }
  return frame;
}

PLLAVA_INLINE Frame rgb_from_yuyv(const Plane& pixels, Index width, Index height,
                                  YuvEncoding encoding) {
  detail::check_sides(width, height);
  if (width % 2 != 0)
    throw MediaError(
        "", "a YUYV frame of " + std::to_string(width) + " columns; expected an even number");
  const detail::Rows rows(pixels, 2 * width, "a YUYV frame");
  const detail::YuvCoefficients f = detail::yuv_coefficients(encoding);
  std::uint8_t* out = nullptr;
  Frame frame = detail::make_rgb_frame(width, height, out);
  for (Index row = 0; row < height; ++row)
    for (Index x = 0; x < width; ++x, out += 3) {
      const std::uint8_t* pair = rows[row] + x / 2 * 4;
      detail::store_yuv(out, f, pair[x % 2 * 2], pair[1], pair[3]);
    }
  return frame;
}

PLLAVA_INLINE Frame rgb_from_grey16(const Plane& pixels, Index width, Index height,
                                    std::uint16_t black, std::uint16_t white) {
  if (black >= white)
    throw ArgumentError("rgb_from_grey16: black is " + std::to_string(black) + " and white " +
                        std::to_string(white) + "; expected black < white");
  detail::check_sides(width, height);
  const detail::Rows rows(pixels, 2 * width, "a 16-bit grey frame");
  std::uint8_t* out = nullptr;
  Frame frame = detail::make_rgb_frame(width, height, out);
  const int range = white - black;
  for (Index row = 0; row < height; ++row)
    for (Index x = 0; x < width; ++x, out += 3) {
      std::uint16_t value = 0;
      std::memcpy(&value, rows[row] + 2 * x, sizeof value);
      const int above = std::clamp<int>(value - black, 0, range);
      out[0] = out[1] = out[2] = static_cast<std::uint8_t>((above * 255 + range / 2) / range);
    }
  return frame;
}

}  // namespace pllava
