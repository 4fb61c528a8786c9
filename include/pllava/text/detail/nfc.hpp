// Normalization form C, with the Unicode data of the `tokenizers` package.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "pllava/text/detail/unicode_data.hpp"
#include "pllava/text/detail/utf8.hpp"

namespace pllava::detail {

/// A character while it is normalized. `mark` is the caller's; a composition has the marks of its
/// parts.
struct NfcCharacter {
  char32_t code;
  std::uint8_t combining_class;
  bool mark;
};

// Hangul syllables are computed (Unicode, section 3.12).
inline constexpr char32_t kSyllableBase = 0xac00, kLeadBase = 0x1100, kVowelBase = 0x1161,
                          kTrailBase = 0x11a7;
inline constexpr char32_t kLeads = 19, kVowels = 21, kTrails = 28;

/// Appends the full canonical decomposition of `c`.
inline void append_decomposed(std::vector<NfcCharacter>& out, char32_t c, bool mark) {
  if (c >= kSyllableBase && c < kSyllableBase + kLeads * kVowels * kTrails) {
    const char32_t s = c - kSyllableBase;
    out.push_back({kLeadBase + s / (kVowels * kTrails), 0, mark});
    out.push_back({kVowelBase + s / kTrails % kVowels, 0, mark});
    if (s % kTrails != 0) out.push_back({kTrailBase + s % kTrails, 0, mark});
    return;
  }
  const Decomposition* parts = find_decomposition(kPairs, c);
  if (!parts) parts = find_decomposition(kDecompositions, c);
  if (parts) {
    append_decomposed(out, parts->first, mark);
    if (parts->second != 0) append_decomposed(out, parts->second, mark);
    return;
  }
  const CombiningRange* range = find_range(kCombining, c);
  out.push_back({c, range ? range->combining_class : std::uint8_t{0}, mark});
}

/// The composition of two characters; 0 if there is none.
inline char32_t composed(char32_t first, char32_t second) {
  if (first >= kLeadBase && first < kLeadBase + kLeads && second >= kVowelBase &&
      second < kVowelBase + kVowels) {
    return kSyllableBase + ((first - kLeadBase) * kVowels + (second - kVowelBase)) * kTrails;
  }
  if (first >= kSyllableBase && first < kSyllableBase + kLeads * kVowels * kTrails &&
      (first - kSyllableBase) % kTrails == 0 && second > kTrailBase &&
      second < kTrailBase + kTrails) {
    return first + (second - kTrailBase);
  }
  const auto less = [](const Decomposition& a, const Decomposition& b) {
    return std::pair(a.first, a.second) < std::pair(b.first, b.second);
  };
  static const auto by_parts = [&] {
    std::array<Decomposition, std::size(kPairs)> pairs{};
    std::copy(std::begin(kPairs), std::end(kPairs), pairs.begin());
    std::sort(pairs.begin(), pairs.end(), less);
    return pairs;
  }();
  const auto found =
      std::lower_bound(by_parts.begin(), by_parts.end(), Decomposition{0, first, second}, less);
  const bool equal = found != by_parts.end() && found->first == first && found->second == second;
  return equal ? found->code : 0;
}

/// Composes each starter with the characters after it that nothing blocks, in place.
inline void compose(std::vector<NfcCharacter>& text) {
  std::size_t size = 0;
  std::size_t starter = text.size();  // index of the last starter; text.size(): none yet
  int last_class = -1;                // of the characters kept after the starter; -1: none
  for (const NfcCharacter c : text) {
    if (starter != text.size() && last_class < c.combining_class) {
      if (const char32_t code = composed(text[starter].code, c.code)) {
        text[starter].code = code;
        text[starter].mark = text[starter].mark || c.mark;
        continue;
      }
    }
    if (c.combining_class == 0) {
      starter = size;
      last_class = -1;
    } else {
      last_class = c.combining_class;
    }
    text[size++] = c;
  }
  text.resize(size);
}

/// The NFC of valid UTF-8 text. `marks`, if not null, has a mark for each byte of the text before,
/// and of the result after.
inline std::string nfc(std::string text, std::vector<bool>* marks = nullptr) {
  // All characters before U+0300 (0xCC 0x80) are starters that are normalized and do not compose
  // with each other.
  if (std::all_of(text.begin(), text.end(),
                  [](char c) { return static_cast<unsigned char>(c) < 0xcc; })) {
    return text;
  }
  std::vector<NfcCharacter> characters;
  characters.reserve(text.size());
  for (std::size_t i = 0, n = 0; i < text.size(); i += n) {
    n = utf8_length(text, i);
    append_decomposed(characters, utf8_code(std::string_view(text).substr(i, n)),
                      marks && (*marks)[i]);
  }
  for (auto run = characters.begin(); run != characters.end();) {
    const auto is_starter = [](const NfcCharacter& c) { return c.combining_class == 0; };
    run = std::find_if_not(run, characters.end(), is_starter);
    const auto end = std::find_if(run, characters.end(), is_starter);
    std::stable_sort(run, end, [](const NfcCharacter& a, const NfcCharacter& b) {
      return a.combining_class < b.combining_class;
    });
    run = end;
  }
  compose(characters);
  text.clear();
  if (marks) marks->clear();
  for (const NfcCharacter& c : characters) {
    append_utf8(text, c.code);
    if (marks) marks->resize(text.size(), c.mark);
  }
  return text;
}

}  // namespace pllava::detail
