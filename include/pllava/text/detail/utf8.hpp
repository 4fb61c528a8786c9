// UTF-8: validation, iteration, white space.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "pllava/config.hpp"

namespace pllava::detail {

/// Length in bytes of the well-formed character at `s[i]`; 0 if there is none (Unicode, table 3-7).
inline std::size_t utf8_length(std::string_view s, std::size_t i) noexcept {
  const auto byte = [&](std::size_t k) -> unsigned {
    return i + k < s.size() ? static_cast<unsigned char>(s[i + k]) : 0u;
  };
  const auto continues = [&](std::size_t k) { return (byte(k) & 0xc0u) == 0x80u; };
  const unsigned lead = byte(0);
  if (i >= s.size()) return 0;
  if (lead < 0x80) return 1;
  if (lead < 0xc2 || lead > 0xf4) return 0;
  if (lead < 0xe0) return continues(1) ? 2 : 0;
  // The second byte's range excludes overlong forms, surrogates and values beyond U+10FFFF.
  const unsigned low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
  const unsigned high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
  if (byte(1) < low || byte(1) > high || !continues(2)) return 0;
  if (lead < 0xf0) return 3;
  return continues(3) ? 4 : 0;
}

/// Offset of the first byte that is not part of a well-formed character; `s.size()` if all are.
inline std::size_t utf8_error(std::string_view s) noexcept {
  std::size_t i = 0;
  while (i < s.size()) {
    const std::size_t n = utf8_length(s, i);
    if (n == 0) break;
    i += n;
  }
  return i;
}

/// Code point of the well-formed character `c`; U+FFFD for another number of bytes.
inline char32_t utf8_code(std::string_view c) noexcept {
  if (c.empty() || c.size() > 4) return 0xfffd;
  const auto lead = static_cast<unsigned char>(c[0]);
  if (c.size() == 1) return lead;
  char32_t code = lead & (0x7fu >> c.size());
  for (const char k : c.substr(1)) code = code << 6 | (static_cast<unsigned char>(k) & 0x3fu);
  return code;
}

/// Start of the character that ends at `end` (exclusive). Precondition: valid UTF-8, end > 0.
inline std::size_t utf8_previous(std::string_view s, std::size_t end) noexcept {
  do --end;
  while (end > 0 && (static_cast<unsigned char>(s[end]) & 0xc0u) == 0x80u);
  return end;
}

/// Unicode's White_Space property.
inline bool is_white_space(char32_t c) noexcept {
  return (c >= 0x09 && c <= 0x0d) || c == 0x20 || c == 0x85 || c == 0xa0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f ||
         c == 0x3000;
}

}  // namespace pllava::detail
