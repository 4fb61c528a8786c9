// Channels of AWQ scales: their heads, and their importance.
#pragma once

#include <span>
#include <vector>

#include "pllava/core/backend.hpp"
#include "pllava/quantization/awq.hpp"

namespace pllava::detail {

inline Heads heads_of(const TextConfig& t) {
  return {t.heads, t.kv_heads, t.head_dim};
}

/// The first input channel of o_proj that row `r` of v_proj produces.
inline Index first_o_channel(const Heads& heads, Index r) {
  return r / heads.head_dim * heads.group_size() * heads.head_dim + r % heads.head_dim;
}

/// The importance of errors in the scaled weights: an error e of w·s is an error e/s of w.
inline std::vector<float> scaled_importance(std::span<const float> importance,
                                            std::span<const float> scales) {
  std::vector<float> scaled(importance.begin(), importance.end());
  for (std::size_t k = 0; k < scaled.size(); ++k) scaled[k] /= scales[k] * scales[k];
  return scaled;
}

}  // namespace pllava::detail
