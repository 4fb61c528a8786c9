// Sizes, windows and filter weights of both preprocessing stages. Shared by the host and by device
// backends.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "pllava/media/preprocess.hpp"

namespace pllava::detail {

inline constexpr Index kMaxImageBytes = Index{64} << 20;
inline constexpr Index kStageOneMaxLong = 9999;  // the reference's max_size
inline constexpr int kPrecisionBits = 22;        // 32 minus 8 bits of pixel and 2 of headroom

inline void check_image_size(Index width, Index height) {
  if (width < 1 || height < 1 || width > kMaxImageBytes / 3 / height)
    throw MediaError("", "scaling would make an image of " + std::to_string(width) + "x" +
                             std::to_string(height) + " pixels; expected 1x1 up to 64 MiB");
}

inline void check_config(const PreprocessConfig& c) {
  if (c.image_size < 1 || c.image_size > 4096 || c.long_edge < 1 || c.long_edge > 65536)
    throw ArgumentError("preprocessing to " + std::to_string(c.image_size) +
                        " pixels with a long edge of " + std::to_string(c.long_edge) +
                        "; expected 1 to 4096 and 1 to 65536");
}

/// Pixel positions [begin, end) along one axis.
struct Range {
  Index begin = 0;
  Index end = 0;
  Index size() const { return end - begin; }
};

/// Keys' cubic convolution kernel with a = -0.5.
inline double bicubic(double t) {
  constexpr double a = -0.5;
  t = std::abs(t);
  if (t < 1.0) return ((a + 2.0) * t - (a + 3.0)) * t * t + 1;
  if (t < 2.0) return (((t - 5) * t + 8) * t - 4) * a;
  return 0.0;
}

/// Fixed-point filter weights of the outputs `outputs` of one axis that is scaled from `in` to
/// `out` pixels.
struct AxisWeights {
  struct Taps {
    Index first = 0;         // input position of the first weight
    std::size_t offset = 0;  // of the first weight in `weights`
    Index count = 0;         // number of weights
  };

  AxisWeights(Index in, Index out, Range outputs) : range(outputs), copy(in == out) {
    if (copy) {
      source = outputs;
      return;
    }
    const double scale = static_cast<double>(in) / static_cast<double>(out);
    const double filter_scale = std::max(scale, 1.0);
    const double support = 2.0 * filter_scale;
    const double inverse = 1.0 / filter_scale;
    std::vector<double> k;
    taps.reserve(static_cast<std::size_t>(outputs.size()));
    for (Index xx = outputs.begin; xx < outputs.end; ++xx) {
      const double center = (static_cast<double>(xx) + 0.5) * scale;
      // NOLINTBEGIN(bugprone-incorrect-roundings): Pillow adds a half and truncates
      const Index first = std::max<Index>(0, static_cast<Index>(center - support + 0.5));
      const Index last = std::min<Index>(in, static_cast<Index>(center + support + 0.5));
      // NOLINTEND(bugprone-incorrect-roundings)
      k.clear();
      double sum = 0.0;
      for (Index x = 0; x < last - first; ++x) {
        k.push_back(bicubic((static_cast<double>(x + first) - center + 0.5) * inverse));
        sum += k.back();
      }
      taps.push_back({first, weights.size(), last - first});
      for (double w : k) {
        if (sum != 0.0) w /= sum;
        w *= 1 << kPrecisionBits;
        weights.push_back(static_cast<std::int32_t>(w < 0 ? w - 0.5 : w + 0.5));
      }
    }
    source = {taps.front().first, taps.back().first + taps.back().count};
    for (const Taps& t : taps) {
      source.begin = std::min(source.begin, t.first);
      source.end = std::max(source.end, t.first + t.count);
    }
  }

  Range range;   // outputs
  Range source;  // inputs that the outputs depend on
  bool copy;     // in == out: outputs are copies, and there are no weights
  std::vector<Taps> taps;
  std::vector<std::int32_t> weights;
};

/// Stage 1 of one frame: scale to (width, height), then crop to the window x, y.
struct StageOnePlan {
  Index width = 0;
  Index height = 0;
  Range x;
  Range y;
};

/// Python's int(a · b / c): exact product, one rounded division, truncation.
inline Index scaled(Index a, Index b, Index c) {
  return static_cast<Index>(static_cast<double>(a * b) / static_cast<double>(c));
}

inline StageOnePlan plan_stage_one(Index width, Index height, const StageOneSize& size,
                                   const PreprocessConfig& config) {
  check_config(config);
  const Index short_in = std::min(width, height);
  const Index long_in = std::max(width, height);
  Index short_out = size.short_edge;
  Index long_out = scaled(short_out, long_in, short_in);
  if (long_out > kStageOneMaxLong) {
    const Index limited = scaled(kStageOneMaxLong, short_out, long_out);
    if (limited >= config.image_size) {
      short_out = limited;
      long_out = kStageOneMaxLong;
    }
  }
  if (short_out != size.short_edge)
    throw MediaError("", "a frame of " + std::to_string(width) + "x" + std::to_string(height) +
                             " cannot be scaled to the short edge " +
                             std::to_string(size.short_edge) + " of the clip's first frame");

  StageOnePlan plan;
  plan.width = width <= height ? short_out : long_out;
  plan.height = width <= height ? long_out : short_out;
  check_image_size(plan.width, plan.height);
  plan.x = {0, plan.width};
  plan.y = {0, plan.height};

  // The reference crops with Python's slice [begin : begin + long_edge] of the long axis and halves
  // the excess twice. begin is negative for a frame with a smaller aspect ratio than the first one,
  // and then counts from the end.
  const auto floor_half = [](Index v) { return v >= 0 ? v / 2 : -((1 - v) / 2); };
  const Index begin = floor_half(floor_half(long_out - size.long_edge));
  const auto position = [&](Index p) {
    return std::clamp<Index>(p < 0 ? p + long_out : p, 0, long_out);
  };
  const Range window{position(begin), position(begin + size.long_edge)};
  if (window.size() < 1)
    throw MediaError("", "a frame of " + std::to_string(width) + "x" + std::to_string(height) +
                             " cannot be cropped to " + std::to_string(size.long_edge) +
                             " pixels: its aspect ratio differs too much from that of the clip's"
                             " first frame");
  (plan.height > plan.width ? plan.y : plan.x) = window;
  return plan;
}

/// Horizontal and vertical axis of one resampling.
struct Resampling {
  AxisWeights h, v;
};

/// The stages of one crop. Stage 1 covers the pixels that stage 2 reads; it is absent if it keeps
/// the size, and for FrameFit::stretch. Positions of stage 2 are relative to the corner (left, top)
/// of stage 1's window.
struct CropPlan {
  CropPlan(Index width, Index height, const StageOneSize& size, const PreprocessConfig& config)
      : CropPlan(config.fit == FrameFit::stretch
                     ? stretch(width, height, config)
                     : CropPlan(width, height, plan_stage_one(width, height, size, config),
                                config.image_size)) {}

  std::optional<Resampling> stage_one;
  Index left = 0, top = 0;
  Resampling stage_two;

 private:
  explicit CropPlan(Resampling only) : stage_two(std::move(only)) {}

  static CropPlan stretch(Index width, Index height, const PreprocessConfig& config) {
    check_config(config);
    check_image_size(config.image_size, height);  // between the two passes
    const Range all{0, config.image_size};
    return CropPlan({{width, config.image_size, all}, {height, config.image_size, all}});
  }

  CropPlan(Index width, Index height, const StageOnePlan& one, Index side)
      : left(one.x.begin), top(one.y.begin), stage_two(center(one.x.size(), one.y.size(), side)) {
    if (one.width == width && one.height == height) return;
    const Range &x = stage_two.h.source, &y = stage_two.v.source;
    stage_one = {{width, one.width, {left + x.begin, left + x.end}},
                 {height, one.height, {top + y.begin, top + y.end}}};
  }

  /// Stage 2: scale the short edge to `side`, then crop the center.
  static Resampling center(Index width, Index height, Index side) {
    const Index w = width <= height ? side : scaled(side, width, height);
    const Index h = width <= height ? scaled(side, height, width) : side;
    check_image_size(w, h);
    const Index x = (w - side) / 2, y = (h - side) / 2;
    return {{width, w, {x, x + side}}, {height, h, {y, y + side}}};
  }
};

/// The normalised value of each 8-bit value of a channel, in the reference's precision and order of
/// operations.
inline std::array<float, 256> normalised_values(std::size_t channel,
                                                const PreprocessConfig& config) {
  std::array<float, 256> values{};
  for (int i = 0; i < 256; ++i) {
    const float unit = static_cast<float>(i * config.rescale_factor);
    values[static_cast<std::size_t>(i)] =
        (unit - config.image_mean[channel]) / config.image_std[channel];
  }
  return values;
}

}  // namespace pllava::detail
