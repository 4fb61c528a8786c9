#include "mp4_index.hpp"

#include <array>
#include <fstream>
#include <span>
#include <string_view>

#include "byte_reader.hpp"

namespace pllava::detail {

namespace {

constexpr std::uint64_t kMaxMoovBytes = std::uint64_t{64} << 20;

/// The big-endian integer at `at`, 0 outside of the bytes.
std::uint64_t integer(Bytes bytes, std::size_t at, std::size_t size) {
  return read_integer(bytes, at, size).value_or(0);
}

/// Calls visit(name, contents) for each box. False if a box is damaged.
template <class Visit>
bool for_each_box(Bytes bytes, Visit&& visit) {
  while (bytes.size() >= 8) {
    std::uint64_t size = integer(bytes, 0, 4);
    std::size_t header = 8;
    if (size == 1 && bytes.size() >= 16) size = integer(bytes, header, 8), header = 16;
    if (size == 0) size = bytes.size();
    if (size < header || size > bytes.size()) return false;
    const std::string_view name(reinterpret_cast<const char*>(bytes.data()) + 4, 4);
    visit(name, bytes.subspan(header, static_cast<std::size_t>(size) - header));
    bytes = bytes.subspan(static_cast<std::size_t>(size));
  }
  return true;
}

/// The contents of the first box at a path of names; empty if there is none.
Bytes find_box(Bytes bytes, std::span<const std::string_view> names) {
  for (const std::string_view wanted : names) {
    Bytes found;
    for_each_box(bytes, [&](std::string_view name, Bytes contents) {
      if (name == wanted && found.data() == nullptr) found = contents;
    });
    if (found.data() == nullptr) return {};
    bytes = found;
  }
  return bytes;
}

/// The moov box, without its header. Empty if there is none.
std::vector<std::byte> read_moov(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  for (std::uint64_t at = 0;;) {
    std::array<std::byte, 16> head{};
    file.seekg(static_cast<std::streamoff>(at));
    if (!file.read(reinterpret_cast<char*>(head.data()), head.size())) return {};
    std::uint64_t size = integer(head, 0, 4);
    std::uint64_t header = 8;
    if (size == 1) size = integer(head, 8, 8), header = 16;
    if (size < header || size > (std::uint64_t{1} << 60)) return {};
    if (std::string_view(reinterpret_cast<const char*>(head.data()) + 4, 4) != "moov") {
      at += size;
      continue;
    }
    if (size > kMaxMoovBytes) return {};
    std::vector<std::byte> moov(static_cast<std::size_t>(size - header));
    file.seekg(static_cast<std::streamoff>(at + header));
    if (!file.read(reinterpret_cast<char*>(moov.data()), static_cast<std::streamsize>(moov.size())))
      return {};
    return moov;
  }
}

/// The track number in a trak box, 0 if it is damaged.
std::uint64_t track_number(Bytes trak) {
  constexpr std::string_view kPath[] = {"tkhd"};
  const Bytes header = find_box(trak, kPath);
  if (header.empty()) return 0;
  const std::size_t at = header[0] == std::byte{1} ? 20 : 12;  // after version, flags and two times
  return header.size() >= at + 4 ? integer(header, at, 4) : 0;
}

/// The offsets in a ctts box. Nullopt unless there are `samples`.
std::optional<std::vector<std::int64_t>> read_offsets(Bytes ctts, std::size_t samples) {
  if (ctts.size() < 8) return std::nullopt;
  const std::uint64_t runs = integer(ctts, 4, 4);
  if ((ctts.size() - 8) / 8 < runs) return std::nullopt;
  std::vector<std::int64_t> offsets;
  offsets.reserve(samples);
  for (std::size_t run = 0; run < runs; ++run) {
    const std::uint64_t count = integer(ctts, 8 + 8 * run, 4);
    if (count > samples - offsets.size()) return std::nullopt;
    // Version 0 is unsigned, but files with negative values and version 0 exist: FFmpeg reads both
    // as signed.
    const auto offset = static_cast<std::int32_t>(integer(ctts, 12 + 8 * run, 4));
    offsets.insert(offsets.end(), static_cast<std::size_t>(count), offset);
  }
  if (offsets.size() != samples) return std::nullopt;
  return offsets;
}

}  // namespace

std::optional<std::vector<std::int64_t>> composition_offsets(const std::string& path, int track,
                                                             std::size_t samples) {
  constexpr std::string_view kTable[] = {"mdia", "minf", "stbl"};
  constexpr std::string_view kOffsets[] = {"ctts"};
  const std::vector<std::byte> moov = read_moov(path);
  bool is_fragmented = false;
  std::optional<std::vector<std::int64_t>> offsets;
  const bool whole = for_each_box(moov, [&](std::string_view name, Bytes contents) {
    if (name == "mvex") is_fragmented = true;
    if (name != "trak" || track_number(contents) != static_cast<std::uint64_t>(track)) return;
    const Bytes table = find_box(contents, kTable);
    if (table.empty()) return;
    const Bytes ctts = find_box(table, kOffsets);
    offsets = ctts.empty() ? std::vector<std::int64_t>(samples) : read_offsets(ctts, samples);
  });
  return whole && !is_fragmented ? offsets : std::nullopt;
}

}  // namespace pllava::detail
