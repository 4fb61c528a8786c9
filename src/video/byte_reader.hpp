// Bounds-checked access to the bytes of a file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>

namespace pllava::detail {

using Bytes = std::span<const std::byte>;

/// Whether the bytes at `at` are `text`.
inline bool has(Bytes bytes, std::size_t at, std::string_view text) {
  return at <= bytes.size() && text.size() <= bytes.size() - at &&
         std::memcmp(bytes.data() + at, text.data(), text.size()) == 0;
}

/// The unsigned integer of up to 8 bytes at `at`; nullopt if it is not inside of the bytes.
inline std::optional<std::uint64_t> read_integer(Bytes bytes, std::size_t at, std::size_t size,
                                                 bool little_endian = false) {
  if (at > bytes.size() || size > bytes.size() - at) return std::nullopt;
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < size; ++i)
    value = value << 8 | static_cast<std::uint64_t>(bytes[at + (little_endian ? size - 1 - i : i)]);
  return value;
}

/// Whether the bytes begin with the signature of TIFF.
inline bool is_tiff(Bytes bytes) {
  return has(bytes, 0, {"II*\0", 4}) || has(bytes, 0, {"MM\0*", 4});
}

}  // namespace pllava::detail
