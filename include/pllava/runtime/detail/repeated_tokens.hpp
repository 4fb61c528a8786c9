// Which visual tokens of a clip repeat over time.
#pragma once

#include <cmath>
#include <cstddef>
#include <vector>

#include "pllava/config.hpp"

namespace pllava::detail {

/// The rows, ascending, that differ by more than `threshold` from the last kept row at the same
/// place of the picture. The distance is 1 - cosine. All rows of the first frame are kept.
inline std::vector<Index> changed_tokens(const std::vector<float>& rows, Index frames,
                                         Index per_frame, Index width, double threshold) {
  const auto row = [&](Index r) { return rows.data() + r * width; };
  const auto dot = [&](const float* a, const float* b) {
    double sum = 0;
    for (Index d = 0; d < width; ++d) sum += double{a[d]} * b[d];
    return sum;
  };
  std::vector<Index> kept, last;  // last: the last kept row of each place
  for (Index place = 0; place < per_frame; ++place) kept.push_back(place);
  last = kept;
  for (Index r = per_frame; r < frames * per_frame; ++r) {
    Index& reference = last[static_cast<std::size_t>(r % per_frame)];
    const float *const a = row(r), *const b = row(reference);
    const double norms = std::sqrt(dot(a, a) * dot(b, b));
    if (norms > 0 && 1 - dot(a, b) / norms <= threshold) continue;
    kept.push_back(reference = r);
  }
  return kept;
}

/// At most `count` rows, but at least those of the first frame: the threshold of changed_tokens is
/// the smallest that keeps so few.
inline std::vector<Index> most_changed_tokens(const std::vector<float>& rows, Index frames,
                                              Index per_frame, Index width, Index count) {
  double low = 0, high = 2;  // 1 - cosine is at most 2: only the first frame is kept
  std::vector<Index> kept = changed_tokens(rows, frames, per_frame, width, low);
  if (static_cast<Index>(kept.size()) <= count) return kept;
  for (int step = 0; step < 20; ++step) {
    const double middle = (low + high) / 2;
    kept = changed_tokens(rows, frames, per_frame, width, middle);
    (static_cast<Index>(kept.size()) <= count ? high : low) = middle;
  }
  return changed_tokens(rows, frames, per_frame, width, high);
}

}  // namespace pllava::detail
