#include "tone_mapping.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <utility>

namespace pllava::detail {

namespace {

constexpr double kPeak = 1000.0;      // cd/m² of the source
constexpr double kWhite = 203.0;      // cd/m² of reference white (ITU-R BT.2408), 1.0 below
constexpr std::size_t kSteps = 4096;  // of tables over the square root of the light

/// PQ: light in cd/m² of a signal from 0 to 1, and its inverse (SMPTE ST 2084).
constexpr double kM1 = 2610.0 / 16384, kM2 = 2523.0 / 32;
constexpr double kC1 = 3424.0 / 4096, kC2 = 2413.0 / 128, kC3 = 2392.0 / 128;

double pq_light(double signal) {
  const double p = std::pow(signal, 1 / kM2);
  return 10000.0 * std::pow(std::max(p - kC1, 0.0) / (kC2 - kC3 * p), 1 / kM1);
}

double pq_signal(double light) {
  const double p = std::pow(light / 10000.0, kM1);
  return std::pow((kC1 + kC2 * p) / (1 + kC3 * p), kM2);
}

/// HLG: light of the scene, 0 to 1, of a signal from 0 to 1 (ITU-R BT.2100).
double hlg_scene_light(double signal) {
  constexpr double a = 0.17883277, b = 0.28466892, c = 0.55991073;
  return signal <= 0.5 ? signal * signal / 3 : (std::exp((signal - c) / a) + b) / 12;
}

/// EETF of ITU-R BT.2390: the light in cd/m² on a display of kWhite.
double tone_mapped(double light) {
  const double top = pq_signal(kPeak);
  const double e = std::min(pq_signal(light) / top, 1.0);
  const double max = pq_signal(kWhite) / top;
  const double knee = 1.5 * max - 0.5;
  if (e < knee) return light;
  const double t = (e - knee) / (1 - knee);
  const double t2 = t * t, t3 = t2 * t;
  const double spline =
      (2 * t3 - 3 * t2 + 1) * knee + (t3 - 2 * t2 + t) * (1 - knee) + (-2 * t3 + 3 * t2) * max;
  return pq_light(spline * top);
}

double srgb(double light) {
  return light <= 0.0031308 ? 12.92 * light : 1.055 * std::pow(light, 1 / 2.4) - 0.055;
}

/// Index into a table over the square root of `x`, which is limited to 0 to 1.
std::size_t step_of(float x) {
  return static_cast<std::size_t>(std::lround(std::sqrt(std::clamp(x, 0.0f, 1.0f)) * (kSteps - 1)));
}

}  // namespace

bool is_high_dynamic_range(const AVFrame& frame) {
  return frame.color_trc == AVCOL_TRC_SMPTE2084 || frame.color_trc == AVCOL_TRC_ARIB_STD_B67;
}

ToneMapper::ToneMapper(const AVFrame& frame)
    : transfer_(frame.color_trc), primaries_(frame.color_primaries) {
  const bool pq = transfer_ == AVCOL_TRC_SMPTE2084;
  for (int value = 0; value < 65536; ++value) {
    const double signal = value / 65535.0;
    linear_.push_back(static_cast<float>(pq ? pq_light(signal) / kWhite : hlg_scene_light(signal)));
  }
  for (std::size_t i = 0; i < kSteps; ++i) {
    const double root = static_cast<double>(i) / (kSteps - 1);
    const double light = std::max(root * root * kPeak, 1e-6);
    gain_.push_back(static_cast<float>(tone_mapped(light) / light));
    encoded_.push_back(static_cast<std::uint8_t>(std::lround(255 * srgb(root * root))));
  }
}

Frame ToneMapper::map(const AVFrame& in) const {
  const bool hlg = transfer_ == AVCOL_TRC_ARIB_STD_B67;
  const bool bt2020 = primaries_ == AVCOL_PRI_BT2020;
  std::vector<std::uint8_t> pixels(static_cast<std::size_t>(in.width) *
                                   static_cast<std::size_t>(in.height) * 3);
  std::uint8_t* out = pixels.data();
  constexpr float kPeakOverWhite = static_cast<float>(kPeak / kWhite);
  for (int y = 0; y < in.height; ++y) {
    const std::uint8_t* row = in.data[0] + std::ptrdiff_t{y} * in.linesize[0];
    for (int x = 0; x < in.width; ++x, row += 6) {
      std::uint16_t signal[3];
      std::memcpy(signal, row, sizeof signal);
      float r = linear_[signal[0]], g = linear_[signal[1]], b = linear_[signal[2]];
      if (hlg) {  // the light of a display of kPeak: system gamma 1.2
        const float luminance = 0.2627f * r + 0.6780f * g + 0.0593f * b;
        const float scale = kPeakOverWhite * std::pow(luminance, 0.2f);
        r *= scale, g *= scale, b *= scale;
      }
      const float gain = gain_[step_of(std::max({r, g, b}) / kPeakOverWhite)];
      r *= gain, g *= gain, b *= gain;
      if (bt2020) {
        const float red = 1.6605f * r - 0.5876f * g - 0.0728f * b;
        const float green = -0.1246f * r + 1.1329f * g - 0.0083f * b;
        const float blue = -0.0182f * r - 0.1006f * g + 1.1187f * b;
        r = red, g = green, b = blue;
      }
      *out++ = encoded_[step_of(r)];
      *out++ = encoded_[step_of(g)];
      *out++ = encoded_[step_of(b)];
    }
  }
  return Frame::own(std::move(pixels), in.width, in.height);
}

}  // namespace pllava::detail
