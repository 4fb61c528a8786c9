// A 64-bit digest of bytes, to notice that content has changed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace pllava {

/// FNV-1a with 64 bits. It detects accidental changes; it is no defence against an attacker, who
/// can construct collisions.
class Digest {
 public:
  Digest& add(std::span<const std::byte> bytes) noexcept {
    constexpr std::uint64_t kPrime = 1099511628211u;
    for (const std::byte b : bytes) value_ = (value_ ^ std::to_integer<std::uint64_t>(b)) * kPrime;
    return *this;
  }
  Digest& add(std::string_view text) noexcept {
    return add(std::as_bytes(std::span(text.data(), text.size())));
  }
  std::uint64_t value() const noexcept { return value_; }

 private:
  std::uint64_t value_ = 14695981039346656037u;  // the offset basis
};

}  // namespace pllava
