// A digest of a file of tensors that reads only a part of it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "pllava/io/digest.hpp"

namespace pllava::detail {

/// Of the size, the bytes before the first tensor, and the first, middle and last 4 KiB of each
/// tensor. `entries` have an `offset` and a `size`.
template <class Entries>
std::uint64_t sampled_digest(std::span<const std::byte> bytes, const Entries& entries) {
  constexpr std::size_t kSample = 4096;
  std::size_t data_begin = bytes.size();
  for (const auto& e : entries) data_begin = std::min(data_begin, e.offset);
  Digest digest;
  digest.add(std::to_string(bytes.size())).add(bytes.first(data_begin));
  for (const auto& e : entries) {
    const auto tensor = bytes.subspan(e.offset, e.size);
    const std::size_t sample = std::min(kSample, e.size), last = e.size - sample;
    for (const std::size_t begin : {std::size_t{0}, last / 2, last})
      digest.add(tensor.subspan(begin, sample));
  }
  return digest.value();
}

}  // namespace pllava::detail
