// Search of the tables of Unicode data.
#pragma once

#include <algorithm>
#include <cstddef>
#include <iterator>

#include "pllava/text/detail/unicode_tables.hpp"

namespace pllava::detail {

/// The range of a sorted table that contains a code point; null if none does.
template <class Range, std::size_t N>
const Range* find_range(const Range (&ranges)[N], char32_t c) noexcept {
  const auto after =
      std::upper_bound(std::begin(ranges), std::end(ranges), c,
                       [](char32_t value, const Range& range) { return value < range.first; });
  if (after == std::begin(ranges) || c > std::prev(after)->last) return nullptr;
  return std::prev(after);
}

template <std::size_t N>
const Decomposition* find_decomposition(const Decomposition (&table)[N], char32_t c) noexcept {
  const auto found = std::lower_bound(
      std::begin(table), std::end(table), c,
      [](const Decomposition& entry, char32_t value) { return entry.code < value; });
  return found != std::end(table) && found->code == c ? found : nullptr;
}

}  // namespace pllava::detail
