// The rotation of the input channels of int8 and int4 matrices, and of the keys of int8 KV caches.
//
// A few input channels of real models are hundreds of times larger than the others. Quantized with
// one scale for the row, the others would round to zero. An orthogonal matrix R spreads every
// channel over all: W·x = (W·Rᵀ)·(R·x), and R·x has no large values (QuaRot, arXiv 2404.00456).
// Rows of W are rotated before they are quantized, and rows of x whenever they are multiplied.
//
// R is a Hadamard matrix after pseudo-random sign flips: K·log₂K additions. Where K is no power of
// two, the largest one below it, P, covers the first P channels, and then, after other sign flips,
// the last P.
#pragma once

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>

namespace pllava {
namespace detail {

/// Whether a sign flip of the rotation applies to channel `k`; `last` tells the flips before the
/// last P channels are mixed.
constexpr bool flips_sign(std::uint32_t k, bool last) noexcept {
  std::uint32_t hash = (last ? k + (1u << 20) : k) * 0x9e3779b1u;
  hash = (hash ^ (hash >> 15)) * 0x85ebca77u;
  return hash >> 31 != 0;
}

inline void flip_signs(std::span<float> x, std::size_t first_channel, bool last) noexcept {
  for (std::size_t i = 0; i < x.size(); ++i)
    if (flips_sign(static_cast<std::uint32_t>(first_channel + i), last)) x[i] = -x[i];
}

/// Multiplies by the symmetric orthogonal Hadamard matrix. The size of x is a power of two. The
/// order of the additions fixes the rounding; every implementation keeps it.
inline void hadamard(std::span<float> x) noexcept {
  for (std::size_t stride = 1; stride < x.size(); stride *= 2)
    for (std::size_t begin = 0; begin < x.size(); begin += 2 * stride)
      for (std::size_t i = begin; i < begin + stride; ++i) {
        const float a = x[i], b = x[i + stride];
        x[i] = a + b;
        x[i + stride] = a - b;
      }
  const float scale = 1.0f / std::sqrt(static_cast<float>(x.size()));
  for (float& v : x) v *= scale;
}

}  // namespace detail

/// x = R·x, for a row of K channels.
inline void rotate(std::span<float> x) noexcept {
  const std::size_t P = std::bit_floor(x.size());
  if (P == 0) return;
  detail::flip_signs(x.first(P), 0, false);
  detail::hadamard(x.first(P));
  if (P == x.size()) return;
  detail::flip_signs(x.last(P), x.size() - P, true);
  detail::hadamard(x.last(P));
}

/// x = Rᵀ·x: reverses rotate() up to rounding.
inline void rotate_back(std::span<float> x) noexcept {
  const std::size_t P = std::bit_floor(x.size());
  if (P == 0) return;
  if (P < x.size()) {
    detail::hadamard(x.last(P));
    detail::flip_signs(x.last(P), x.size() - P, true);
  }
  detail::hadamard(x.first(P));
  detail::flip_signs(x.first(P), 0, false);
}

}  // namespace pllava
