// Token ids: their range, and the lookup of a token's id.
#pragma once

#include <cstdint>
#include <string_view>
#include <unordered_map>

namespace pllava::detail {

inline constexpr std::int32_t kNoToken = -1;
inline constexpr std::int32_t kMaxTokenId = (1 << 24) - 1;  // a larger id means a damaged file

/// Token -> id. The keys are views into TokenizerParts.
using TokenIds = std::unordered_map<std::string_view, std::int32_t>;

inline std::int32_t find_token(const TokenIds& ids, std::string_view token) {
  const auto entry = ids.find(token);
  return entry == ids.end() ? kNoToken : entry->second;
}

}  // namespace pllava::detail
