// Definitions of preprocess.hpp. Resampling is separable: a horizontal pass over the rows that the
// vertical pass reads, stored as 8 bits, then the vertical pass. A pass is skipped if its axis
// keeps its length. Both stages compute only the window of pixels that the next one reads.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "pllava/media/detail/crop_plan.hpp"
#include "pllava/media/detail/rgb_frame.hpp"
#include "pllava/media/preprocess.hpp"

namespace pllava {
namespace detail {

/// A window of a larger RGB image; `data` is its first pixel, at (x0, y0) of the image.
struct Window {
  const std::uint8_t* data = nullptr;
  Index stride = 0;
  Index x0 = 0;
  Index y0 = 0;

  const std::uint8_t* at(Index x, Index y) const { return data + (y - y0) * stride + (x - x0) * 3; }
};

/// Converts a fixed-point sum to 8 bits. Sums are unsigned, where overflow is defined.
PLLAVA_INLINE std::uint8_t clip8(std::uint32_t sum) {
  return static_cast<std::uint8_t>(
      std::clamp(static_cast<std::int32_t>(sum) >> kPrecisionBits, 0, 255));
}

inline constexpr std::uint32_t kHalf = 1u << (kPrecisionBits - 1);

/// out (w, 3) = weighted sums of the pixels of a row; `in` is the pixel at x = `x0`.
PLLAVA_INLINE void scale_row(std::uint8_t* out, const std::uint8_t* in, Index x0,
                             const AxisWeights& axis) {
  for (const AxisWeights::Taps& t : axis.taps) {
    const std::uint8_t* p = in + (t.first - x0) * 3;
    const std::int32_t* w = axis.weights.data() + t.offset;
    std::uint32_t r = kHalf;
    std::uint32_t g = kHalf;
    std::uint32_t b = kHalf;
    for (Index k = 0; k < t.count; ++k, p += 3) {
      const auto weight = static_cast<std::uint32_t>(w[k]);
      r += p[0] * weight;
      g += p[1] * weight;
      b += p[2] * weight;
    }
    *out++ = clip8(r);
    *out++ = clip8(g);
    *out++ = clip8(b);
  }
}

/// out (n) = weighted sum of `count` rows of n bytes, `stride` apart. Runs in strips whose sums fit
/// the L1 cache.
PLLAVA_INLINE void blend_rows(std::uint8_t* out, const std::uint8_t* in, Index stride, Index n,
                              const std::int32_t* w, Index count) {
  constexpr Index kStrip = 1024;
  std::uint32_t sums[kStrip];
  for (Index i0 = 0; i0 < n; i0 += kStrip) {
    const Index m = std::min(kStrip, n - i0);
    std::fill_n(sums, m, kHalf);
    for (Index k = 0; k < count; ++k) {
      const auto weight = static_cast<std::uint32_t>(w[k]);
      const std::uint8_t* row = in + k * stride + i0;
      for (Index i = 0; i < m; ++i) sums[i] += row[i] * weight;
    }
    for (Index i = 0; i < m; ++i) out[i0 + i] = clip8(sums[i]);
  }
}

/// Writes the pixels h.range x v.range of the scaled image to out (v, h, 3), dense.
PLLAVA_INLINE void resample(std::uint8_t* out, const Window& in, const AxisWeights& h,
                            const AxisWeights& v) {
  const Index row_bytes = h.range.size() * 3;
  const auto pass_row = [&](std::uint8_t* to, Index y) {
    if (h.copy)
      std::memcpy(to, in.at(h.range.begin, y), static_cast<std::size_t>(row_bytes));
    else
      scale_row(to, in.at(h.source.begin, y), h.source.begin, h);
  };
  if (v.copy) {
    for (Index y = v.range.begin; y < v.range.end; ++y, out += row_bytes) pass_row(out, y);
    return;
  }

  std::vector<std::uint8_t> between;  // (v.source, h.range, 3)
  const std::uint8_t* rows = h.copy ? in.at(h.range.begin, v.source.begin) : nullptr;
  Index stride = in.stride;
  if (!h.copy) {
    stride = row_bytes;
    between.resize(static_cast<std::size_t>(v.source.size() * row_bytes));
    for (Index y = v.source.begin; y < v.source.end; ++y)
      pass_row(between.data() + (y - v.source.begin) * row_bytes, y);
    rows = between.data();
  }
  for (const AxisWeights::Taps& t : v.taps) {
    blend_rows(out, rows + (t.first - v.source.begin) * stride, stride, row_bytes,
               v.weights.data() + t.offset, t.count);
    out += row_bytes;
  }
}

/// The frame in RGB, with any stride; converted if its format differs.
PLLAVA_INLINE Frame rgb_rows(const Frame& frame) {
  check_frame(frame);
  return frame.format == PixelFormat::rgb ? frame : to_rgb(frame);
}

PLLAVA_INLINE Window full_window(const Frame& rgb) {
  return {rgb.data, rgb.stride, 0, 0};
}

}  // namespace detail

PLLAVA_INLINE Frame resize(const Frame& frame, Index width, Index height) {
  detail::check_image_size(width, height);
  const Frame rgb = detail::rgb_rows(frame);
  std::uint8_t* pixels = nullptr;
  Frame out = detail::make_rgb_frame(width, height, pixels);
  out.time = frame.time;
  out.index = frame.index;
  detail::resample(pixels, detail::full_window(rgb), {rgb.width, width, {0, width}},
                   {rgb.height, height, {0, height}});
  return out;
}

PLLAVA_INLINE StageOneSize stage_one_size(Index width, Index height,
                                          const PreprocessConfig& config) {
  detail::check_config(config);
  if (width < 1 || height < 1 || width > detail::kMaxSide || height > detail::kMaxSide)
    throw MediaError("", "a frame of " + std::to_string(width) + "x" + std::to_string(height) +
                             " pixels; expected sides from 1 to " +
                             std::to_string(detail::kMaxSide));
  const Index long_in = std::max(width, height);
  const Index short_in = std::min(width, height);
  if (config.fit == FrameFit::stretch) return {short_in, long_in};
  const double ratio = static_cast<double>(long_in) / static_cast<double>(short_in);
  const Index long_limit = std::min(config.long_edge, long_in);
  Index s = std::min(short_in, static_cast<Index>(static_cast<double>(long_limit) / ratio));
  s = std::max(s, config.image_size);
  const StageOneSize size{s, static_cast<Index>(static_cast<double>(s) * ratio)};
  detail::check_image_size(size.long_edge, size.short_edge);
  return size;
}

PLLAVA_INLINE Frame resize_crop_longshort(const Frame& frame, const StageOneSize& size,
                                          const PreprocessConfig& config) {
  const Frame rgb = detail::rgb_rows(frame);
  const detail::StageOnePlan plan = detail::plan_stage_one(rgb.width, rgb.height, size, config);
  std::uint8_t* pixels = nullptr;
  Frame out = detail::make_rgb_frame(plan.x.size(), plan.y.size(), pixels);
  out.time = frame.time;
  out.index = frame.index;
  detail::resample(pixels, detail::full_window(rgb), {rgb.width, plan.width, plan.x},
                   {rgb.height, plan.height, plan.y});
  return out;
}

PLLAVA_INLINE Frame crop_frame(const Frame& frame, const StageOneSize& size,
                               const PreprocessConfig& config) {
  const Frame rgb = detail::rgb_rows(frame);
  const detail::CropPlan plan(rgb.width, rgb.height, size, config);
  std::vector<std::uint8_t> between;
  detail::Window window = detail::full_window(rgb);
  if (plan.stage_one) {
    const auto& [h, v] = *plan.stage_one;
    between.resize(static_cast<std::size_t>(h.range.size() * v.range.size() * 3));
    detail::resample(between.data(), window, h, v);
    window = {between.data(), h.range.size() * 3, h.range.begin, v.range.begin};
  }
  window.x0 -= plan.left;
  window.y0 -= plan.top;

  const Index side = config.image_size;
  std::uint8_t* pixels = nullptr;
  Frame out = detail::make_rgb_frame(side, side, pixels);
  out.time = frame.time;
  out.index = frame.index;
  detail::resample(pixels, window, plan.stage_two.h, plan.stage_two.v);
  return out;
}

PLLAVA_INLINE Frame crop_large_frame(const Frame& frame, const PreprocessConfig& config,
                                     Index min_pixels) {
  if (frame.width * frame.height <= min_pixels) return frame;
  return crop_frame(frame, stage_one_size(frame.width, frame.height, config), config);
}

PLLAVA_INLINE void normalise(const Frame& crop, float* out, const PreprocessConfig& config) {
  const Index side = config.image_size;
  if (crop.width != side || crop.height != side)
    throw MediaError("", "a crop of " + std::to_string(crop.width) + "x" +
                             std::to_string(crop.height) + " pixels; expected " +
                             std::to_string(side) + "x" + std::to_string(side));
  const Frame rgb = detail::rgb_rows(crop);
  for (std::size_t c = 0; c < 3; ++c) {
    const auto values = detail::normalised_values(c, config);
    for (Index y = 0; y < side; ++y) {
      const std::uint8_t* row = rgb.data + y * rgb.stride + c;
      for (Index x = 0; x < side; ++x) *out++ = values[row[x * 3]];
    }
  }
}

}  // namespace pllava
