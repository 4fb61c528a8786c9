// UTF-8: validation, iteration, white space.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "pllava/config.hpp"

namespace pllava::detail {

/// The start of a character: `matched` bytes of the `needed` ones. `needed` is 0 and `matched` 1 if
/// no character starts with the first byte.
struct Utf8Start {
  std::size_t matched;
  std::size_t needed;
};

/// The longest start of a well-formed character at `s[i]`, i < s.size() (Unicode, table 3-7).
inline Utf8Start utf8_start(std::string_view s, std::size_t i) noexcept {
  const auto byte = [&](std::size_t k) -> unsigned {
    return i + k < s.size() ? static_cast<unsigned char>(s[i + k]) : 0u;
  };
  const unsigned lead = byte(0);
  if (lead < 0x80) return {1, 1};
  if (lead < 0xc2 || lead > 0xf4) return {1, 0};
  const std::size_t needed = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  // The second byte's range excludes overlong forms, surrogates and values beyond U+10FFFF.
  const unsigned low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
  const unsigned high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
  std::size_t matched = 1;
  if (byte(1) >= low && byte(1) <= high) {
    do ++matched;
    while (matched < needed && (byte(matched) & 0xc0u) == 0x80u);
  }
  return {matched, needed};
}

/// Length in bytes of the well-formed character at `s[i]`; 0 if there is none.
inline std::size_t utf8_length(std::string_view s, std::size_t i) noexcept {
  if (i >= s.size()) return 0;
  const Utf8Start start = utf8_start(s, i);
  return start.matched == start.needed ? start.needed : 0;
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

/// Appends a code point that is not a surrogate.
inline void append_utf8(std::string& s, char32_t code) {
  const auto put = [&](char32_t byte) { s += static_cast<char>(byte); };
  if (code < 0x80) return put(code);
  if (code < 0x800) {
    put(0xc0 | code >> 6);
  } else {
    if (code < 0x10000) {
      put(0xe0 | code >> 12);
    } else {
      put(0xf0 | code >> 18), put(0x80 | (code >> 12 & 0x3f));
    }
    put(0x80 | (code >> 6 & 0x3f));
  }
  put(0x80 | (code & 0x3f));
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
