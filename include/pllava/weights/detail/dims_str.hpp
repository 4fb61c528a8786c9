// Text of a shape of any rank.
#pragma once

#include <string>
#include <vector>

#include "pllava/config.hpp"

namespace pllava::detail {

/// "(2, 3)"
inline std::string dims_str(const std::vector<Index>& dims) {
  std::string text = "(";
  for (std::size_t i = 0; i < dims.size(); ++i) text += (i ? ", " : "") + std::to_string(dims[i]);
  return text + ")";
}

}  // namespace pllava::detail
