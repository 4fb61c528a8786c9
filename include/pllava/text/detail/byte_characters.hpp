// Byte-level tokens: one character for each byte, as in GPT-2.
#pragma once

#include <string>
#include <string_view>

#include "pllava/text/detail/utf8.hpp"

namespace pllava::detail {

/// Printable bytes of Latin-1 stand for themselves.
constexpr bool stands_for_itself(char32_t c) noexcept {
  return (c >= 0x21 && c <= 0x7e) || (c >= 0xa1 && c <= 0xac) || (c >= 0xae && c <= 0xff);
}

/// The character of a byte. Those of the other 68 bytes follow U+0100 in the order of the bytes.
constexpr char32_t character_of_byte(unsigned char byte) noexcept {
  if (stands_for_itself(byte)) return byte;
  if (byte <= 0x20) return 0x100u + byte;
  return byte == 0xad ? 0x143u : 0x121u + (byte - 0x7fu);
}

/// The byte of a character; -1 if it has none.
constexpr int byte_of_character(char32_t c) noexcept {
  if (stands_for_itself(c)) return static_cast<int>(c);
  if (c >= 0x100 && c <= 0x120) return static_cast<int>(c - 0x100);
  if (c >= 0x121 && c <= 0x142) return static_cast<int>(c - 0x121 + 0x7f);
  return c == 0x143 ? 0xad : -1;
}

/// The characters of all bytes of a text.
inline std::string byte_characters(std::string_view bytes) {
  std::string text;
  text.reserve(2 * bytes.size());
  for (const char c : bytes) append_utf8(text, character_of_byte(static_cast<unsigned char>(c)));
  return text;
}

/// The bytes of a token. A token with another character, such as an added token with a space,
/// stands for its own bytes.
inline std::string bytes_of_token(std::string_view token) {
  std::string bytes;
  for (std::size_t i = 0, n = 0; i < token.size(); i += n) {
    n = utf8_length(token, i);
    const int byte = n == 0 ? -1 : byte_of_character(utf8_code(token.substr(i, n)));
    if (byte < 0) return std::string(token);
    bytes += static_cast<char>(byte);
  }
  return bytes;
}

}  // namespace pllava::detail
