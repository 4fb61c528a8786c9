// Bodies of cpu/packed_weights.hpp.
//
// The file: kPackedMagic, then records: a length (64 bits, little-endian), that many bytes, and a
// checksum (64 bits) of each 4 MiB of them. The first record is the origin. Each weight is a record
// with its key and one record per block of memory.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <system_error>

#include "pllava/cpu/packed_weights.hpp"
#include "pllava/io/detail/output_file.hpp"
#include "pllava/io/digest.hpp"

namespace pllava::cpu {

namespace detail {

inline constexpr std::string_view kPackedMagic = "pllava: packed weights, ";
/// Changes with the layout of the file, and with that of the panels or the meaning of their values.
inline constexpr std::string_view kPackedLayout = "layout 4\n";
inline constexpr std::size_t kPackedPart = std::size_t{4} << 20;  // bytes of a checksum

inline std::string_view name_of(WeightRole role) noexcept {
  switch (role) {
    case WeightRole::linear: return "linear";
    case WeightRole::gate_up: return "gate_up";
    case WeightRole::table: return "table";
    case WeightRole::vector: return "vector";
  }
  return "?";
}

inline std::size_t parts_of(std::size_t size) noexcept {
  return size / kPackedPart + (size % kPackedPart != 0 ? 1 : 0);
}

inline std::span<const std::byte> part_of(std::span<const std::byte> record,
                                          std::size_t part) noexcept {
  const std::size_t begin = part * kPackedPart;
  return record.subspan(begin, std::min(kPackedPart, record.size() - begin));
}

inline std::string_view as_text(std::span<const std::byte> bytes) noexcept {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace detail

PLLAVA_INLINE std::string packed_key(std::span<const HostTensor> parts, WeightRole role,
                                     DType dtype) {
  std::string key(detail::name_of(role));
  key.append(" in ").append(name_of(dtype)).append(":");
  for (const HostTensor& part : parts) {
    std::string name = part.name;
    if (name.empty()) {
      const auto bytes = static_cast<std::size_t>(part.shape.count() * size_of(part.dtype));
      name = "digest " + std::to_string(Digest().add({part.data, bytes}).value());
    }
    const Quantization& q = part.quantization;
    key.append(" ").append(name).append(" ").append(part.shape.str());
    key.append(" ").append(name_of(part.dtype)).append(" ").append(name_of(q.format));
    if (q.format == WeightFormat::int4)
      key.append(" group ").append(std::to_string(q.group)).append(q.zero_points ? " zp" : "");
    key.append(";");
  }
  return key;
}

PLLAVA_INLINE PackedWeights::PackedWeights(const std::filesystem::path& path,
                                           const std::function<bool(std::string_view)>& is_current,
                                           const std::function<std::string()>& origin)
    : path_(path) {
  std::error_code error;
  if (std::filesystem::exists(path_, error)) {
    file_ = MappedFile::open(path_);
    const std::string_view text = detail::as_text(file_->bytes());
    if (!text.starts_with(detail::kPackedMagic))
      throw LoadError("the file exists and does not hold packed weights; it is not replaced",
                      {.file = path_.string(), .tensor = {}, .expected = {}, .got = {}});
    at_ = detail::kPackedMagic.size() + detail::kPackedLayout.size();
    if (text.substr(detail::kPackedMagic.size()).starts_with(detail::kPackedLayout) &&
        is_current(detail::as_text(checked(next_record("the origin of the weights")))))
      return;
    file_.reset();
  }
  output_ = std::make_unique<pllava::detail::OutputFile>(path_);
  output_->write(detail::kPackedMagic.data(), detail::kPackedMagic.size());
  output_->write(detail::kPackedLayout.data(), detail::kPackedLayout.size());
  const std::string identity = origin();
  write_record(identity.data(), identity.size());
}

PLLAVA_INLINE PackedWeights::~PackedWeights() = default;

PLLAVA_INLINE LoadError PackedWeights::damaged(const std::string& expected,
                                               const std::string& got) const {
  return {"the packed weights do not fit this model; delete the file to pack them again",
          {.file = path_.string(), .tensor = key_, .expected = expected, .got = got}};
}

PLLAVA_INLINE std::span<const std::byte> PackedWeights::next_record(const std::string& expected) {
  const auto all = file_->bytes();
  std::uint64_t size = 0;
  const std::size_t left = all.size() - at_;
  if (left >= sizeof size) std::memcpy(&size, all.data() + at_, sizeof size);
  const std::size_t room = left < sizeof size ? 0 : left - sizeof size;
  const std::size_t checksums = detail::parts_of(std::min<std::uint64_t>(size, room)) * kChecksum;
  if (left < sizeof size || size > room || room - size < checksums)
    throw damaged(expected + " at offset " + std::to_string(at_), "the end of the file");
  const auto record = all.subspan(at_ + sizeof size, static_cast<std::size_t>(size));
  at_ += sizeof size + record.size() + checksums;
  return record;
}

PLLAVA_INLINE bool PackedWeights::is_intact(std::span<const std::byte> record,
                                            std::size_t part) const noexcept {
  std::uint64_t stored = 0;
  std::memcpy(&stored, record.data() + record.size() + part * kChecksum, kChecksum);
  return checksum(detail::part_of(record, part)) == stored;
}

PLLAVA_INLINE std::span<const std::byte> PackedWeights::checked(
    std::span<const std::byte> record) const {
  for (std::size_t i = 0; i < detail::parts_of(record.size()); ++i)
    if (!is_intact(record, i)) throw damaged("bytes with the stored checksum", "changed bytes");
  return record;
}

PLLAVA_INLINE void PackedWeights::write_record(const void* data, std::size_t size) {
  const auto length = static_cast<std::uint64_t>(size);
  output_->write(&length, sizeof length);
  output_->write(data, size);
  const std::span record(static_cast<const std::byte*>(data), size);
  for (std::size_t i = 0; i < detail::parts_of(size); ++i) {
    const std::uint64_t sum = checksum(detail::part_of(record, i));
    output_->write(&sum, kChecksum);
  }
}

PLLAVA_INLINE void PackedWeights::begin_weight(const std::string& key) {
  key_ = key;
  if (writes()) write_record(key.data(), key.size());
  if (!reads()) return;
  const std::string_view stored = detail::as_text(checked(next_record("the weight")));
  if (stored != key) throw damaged("the weight at this place", std::string(stored.substr(0, 400)));
}

PLLAVA_INLINE void PackedWeights::read(void* memory, Index bytes, ThreadPool& pool) {
  const auto block = next_record("a block of " + std::to_string(bytes) + " bytes");
  if (block.size() != static_cast<std::size_t>(bytes))
    throw damaged("a block of " + std::to_string(bytes) + " bytes",
                  "one of " + std::to_string(block.size()));
  const auto begin_of_block = static_cast<std::size_t>(block.data() - file_->bytes().data());
  std::atomic<bool> intact = true;
  pool.run(static_cast<Index>(detail::parts_of(block.size())), [&](Index i) {
    const auto number = static_cast<std::size_t>(i);
    const auto part = detail::part_of(block, number);
    if (!is_intact(block, number)) intact = false;
    const auto begin = static_cast<std::size_t>(part.data() - block.data());
    std::memcpy(static_cast<std::byte*>(memory) + begin, part.data(), part.size());
    // The copy is resident now; the pages of the file need not be.
    file_->release(begin_of_block + begin, part.size());
  });
  if (!intact) throw damaged("bytes with the stored checksum", "changed bytes");
}

PLLAVA_INLINE void PackedWeights::write(const void* memory, Index bytes) {
  write_record(memory, static_cast<std::size_t>(bytes));
}

PLLAVA_INLINE void PackedWeights::commit() {
  if (file_ != nullptr && at_ != file_->bytes().size()) {
    key_.clear();
    throw damaged("the end of the file at offset " + std::to_string(at_),
                  std::to_string(file_->bytes().size() - at_) + " bytes more");
  }
  if (output_ != nullptr) output_->commit();
  file_.reset();
  output_.reset();
}

}  // namespace pllava::cpu
