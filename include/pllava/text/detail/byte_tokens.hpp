// Byte tokens: the tokens "<0x00>" to "<0xFF>" of byte fallback.
#pragma once

#include <string>
#include <string_view>

#include "pllava/config.hpp"

namespace pllava::detail {

/// "0x0A" for 10.
inline std::string hex_byte(unsigned byte) {
  constexpr std::string_view digits = "0123456789ABCDEF";
  return {'0', 'x', digits[byte >> 4], digits[byte & 15u]};
}

/// "<0x0A>" for 10.
inline std::string byte_token(unsigned byte) {
  return "<" + hex_byte(byte) + ">";
}

/// The value of a byte token; -1 for any other token.
inline int byte_token_value(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return -1;
  int value = 0;
  for (const char c : token.substr(3, 2)) {
    const int digit = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                             : -1;
    if (digit < 0) return -1;
    value = value * 16 + digit;
  }
  return value;
}

}  // namespace pllava::detail
