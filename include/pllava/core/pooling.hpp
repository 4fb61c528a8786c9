// The kinds of pooling.
#pragma once

#include <cstdint>
#include <string_view>

#include "pllava/core/shape.hpp"

namespace pllava {

/// `average` and `maximum` reduce the rows of each adaptive window. `bilinear` resizes each frame,
/// as PyTorch's interpolate(mode="bilinear", align_corners=False) does, and averages over windows
/// of t.
enum class PoolKind : std::uint8_t { average, maximum, bilinear };

constexpr std::string_view name_of(PoolKind kind) noexcept {
  switch (kind) {
    case PoolKind::average: return "average";
    case PoolKind::maximum: return "maximum";
    case PoolKind::bilinear: return "bilinear";
  }
  return "?";
}

/// The two inputs of an axis that a bilinear output lies between: it is
/// (1 - weight) · x[first] + weight · x[second].
struct BilinearTaps {
  Index first, second;
  float weight;
};

/// The taps of output i of an axis that is resized from `in` to `out`: those at (i + ½)·in/out - ½,
/// clamped to the axis.
constexpr BilinearTaps bilinear_taps(Index i, Index in, Index out) noexcept {
  const Index position = (2 * i + 1) * in - out, unit = 2 * out;  // the position is in 1/unit
  if (position <= 0) return {0, 0, 0.0f};
  const Index first = position / unit;
  if (first + 1 >= in) return {in - 1, in - 1, 0.0f};
  return {first, first + 1, static_cast<float>(position % unit) / static_cast<float>(unit)};
}

}  // namespace pllava
