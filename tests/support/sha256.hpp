// SHA-256 (FIPS 180-4), to compare pixels with stored digests.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <string>
#include <vector>

namespace test {

namespace sha256_detail {

__extension__ typedef unsigned __int128 Wide;

/// First 32 bits of the fraction of x^(1/root), found by bisection on exact integers.
constexpr std::uint32_t root_fraction(std::uint64_t x, int root) {
  Wide low = 0;
  Wide high = static_cast<Wide>(1) << 37;
  while (high - low > 1) {
    const Wide middle = (low + high) / 2;
    // middle is the root times 2^32; cubes of 37 bits need 111.
    const Wide power = root == 2 ? middle * middle : middle * middle * middle;
    const Wide target = static_cast<Wide>(x) << (32 * root);
    (power <= target ? low : high) = middle;
  }
  return static_cast<std::uint32_t>(low);
}

/// The fractions of the roots of the first N primes.
template <std::size_t N>
constexpr std::array<std::uint32_t, N> constants(int root) {
  std::array<std::uint32_t, N> values{};
  std::size_t n = 0;
  for (std::uint64_t p = 2; n < N; ++p) {
    bool prime = true;
    for (std::uint64_t d = 2; d * d <= p; ++d) prime = prime && p % d != 0;
    if (prime) values[n++] = root_fraction(p, root);
  }
  return values;
}

}  // namespace sha256_detail

/// Digest of `size` bytes as 64 lower-case hex digits.
inline std::string sha256(const std::uint8_t* data, std::size_t size) {
  static const auto k = sha256_detail::constants<64>(3);
  auto h = sha256_detail::constants<8>(2);

  std::vector<std::uint8_t> tail(data + size / 64 * 64, data + size);
  tail.push_back(0x80);
  while (tail.size() % 64 != 56) tail.push_back(0);
  for (int shift = 56; shift >= 0; shift -= 8)
    tail.push_back(static_cast<std::uint8_t>((static_cast<std::uint64_t>(size) * 8) >> shift));

  const auto block = [&](const std::uint8_t* p) {
    std::uint32_t w[64];
    for (int i = 0; i < 16; ++i, p += 4)
      w[i] =
          std::uint32_t{p[0]} << 24 | std::uint32_t{p[1]} << 16 | std::uint32_t{p[2]} << 8 | p[3];
    for (int i = 16; i < 64; ++i) {
      const std::uint32_t a = w[i - 15];
      const std::uint32_t b = w[i - 2];
      w[i] = w[i - 16] + (std::rotr(a, 7) ^ std::rotr(a, 18) ^ a >> 3) + w[i - 7] +
             (std::rotr(b, 17) ^ std::rotr(b, 19) ^ b >> 10);
    }
    auto s = h;
    for (std::size_t i = 0; i < 64; ++i) {
      const std::uint32_t t1 = s[7] +
                               (std::rotr(s[4], 6) ^ std::rotr(s[4], 11) ^ std::rotr(s[4], 25)) +
                               ((s[4] & s[5]) ^ (~s[4] & s[6])) + k[i] + w[i];
      const std::uint32_t t2 = (std::rotr(s[0], 2) ^ std::rotr(s[0], 13) ^ std::rotr(s[0], 22)) +
                               ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
      s = {t1 + t2, s[0], s[1], s[2], s[3] + t1, s[4], s[5], s[6]};
    }
    for (std::size_t i = 0; i < 8; ++i) h[i] += s[i];
  };
  for (std::size_t i = 0; i + 64 <= size; i += 64) block(data + i);
  for (std::size_t i = 0; i < tail.size(); i += 64) block(tail.data() + i);

  std::string hex;
  for (const std::uint32_t word : h)
    for (int shift = 28; shift >= 0; shift -= 4) hex += "0123456789abcdef"[(word >> shift) & 15u];
  return hex;
}

}  // namespace test
