// How the channels of AWQ scales correspond to heads and errors.
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
inline Index first_reader(const Heads& heads, Index r) {
  return r / heads.head_dim * heads.group_size() * heads.head_dim + r % heads.head_dim;
}

/// The importance of errors in channels whose weights are multiplied by `scales`.
inline std::vector<float> scaled_importance(std::span<const float> importance,
                                            std::span<const float> scales) {
  std::vector<float> costs(importance.begin(), importance.end());
  for (std::size_t k = 0; k < costs.size(); ++k) costs[k] /= scales[k] * scales[k];
  return costs;
}

}  // namespace pllava::detail
