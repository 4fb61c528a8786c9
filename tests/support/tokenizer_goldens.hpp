// The random texts and hashes of tests/data/make_tokenizer_goldens.py, for tests of both tokenizer
// loaders.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "pllava/config.hpp"
#include "support/catch.hpp"

namespace test {

using Ids = std::vector<std::int32_t>;

inline std::string read_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  REQUIRE(in);
  return {std::istreambuf_iterator<char>(in), {}};
}

class SplitMix64 {
 public:
  explicit SplitMix64(std::uint64_t seed) : state_(seed) {}
  std::uint64_t below(std::uint64_t n) {
    state_ += 0x9e3779b97f4a7c15u;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (z ^ (z >> 31)) % n;
  }

 private:
  std::uint64_t state_;
};

inline void append_utf8(std::string& s, std::uint64_t code) {
  const auto put = [&](std::uint64_t byte) { s += static_cast<char>(byte); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xc0 | code >> 6), put(0x80 | (code & 0x3f));
  } else if (code < 0x10000) {
    put(0xe0 | code >> 12), put(0x80 | (code >> 6 & 0x3f)), put(0x80 | (code & 0x3f));
  } else {
    put(0xf0 | code >> 18), put(0x80 | (code >> 12 & 0x3f));
    put(0x80 | (code >> 6 & 0x3f)), put(0x80 | (code & 0x3f));
  }
}

inline std::string random_text(SplitMix64& rng, const std::vector<std::string>& fragments) {
  std::string text;
  for (auto n = rng.below(24); n > 0; --n) {
    const auto kind = rng.below(8);
    if (kind < 5) {
      text += fragments[rng.below(fragments.size())];
    } else if (kind == 5) {
      append_utf8(text, 32 + rng.below(95));
    } else if (kind == 6) {
      append_utf8(text, rng.below(32));
    } else {
      const auto code = rng.below(0x110000 - 0x800);
      append_utf8(text, code < 0xd800 ? code : code + 0x800);
    }
  }
  return text;
}

inline Ids random_ids(SplitMix64& rng, pllava::Index size) {
  Ids ids;
  for (auto n = rng.below(24); n > 0; --n) {
    const bool byte = rng.below(2) == 0;
    const auto id = byte ? 3 + rng.below(256) : rng.below(static_cast<std::uint64_t>(size));
    ids.push_back(static_cast<std::int32_t>(id));
  }
  return ids;
}

class Fnv1a {
 public:
  void add(unsigned char byte) { value_ = (value_ ^ byte) * 0x01000193u; }
  std::uint32_t value() const { return value_; }

 private:
  std::uint32_t value_ = 0x811c9dc5u;
};

inline std::uint32_t hash_of(const Ids& ids) {
  Fnv1a hash;
  for (const std::int32_t id : ids) {
    for (int shift = 0; shift < 32; shift += 8) hash.add(static_cast<unsigned char>(id >> shift));
  }
  return hash.value();
}

inline std::uint32_t hash_of(const std::string& text) {
  Fnv1a hash;
  for (const char c : text) hash.add(static_cast<unsigned char>(c));
  return hash.value();
}

/// The i-th little-endian 32-bit word.
inline std::uint32_t word_at(const std::string& bytes, std::size_t i) {
  std::uint32_t word = 0;
  for (std::size_t k = 0; k < 4; ++k) {
    word |= std::uint32_t{static_cast<unsigned char>(bytes.at(4 * i + k))} << 8 * k;
  }
  return word;
}

}  // namespace test
