// Bodies of cpu/packed_weights.hpp.
//
// The file: kPackedMagic, then records: a length (64 bits, little-endian) and that many bytes. The
// first record is the origin. Each weight is a record with its key and one record per block of
// memory.
#pragma once

#include <algorithm>
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
/// Changes with the layout of the file and of the panels in it.
inline constexpr std::string_view kPackedLayout = "layout 2\n";

inline std::string_view name_of(WeightRole role) noexcept {
  switch (role) {
    case WeightRole::linear: return "linear";
    case WeightRole::gate_up: return "gate_up";
    case WeightRole::table: return "table";
    case WeightRole::vector: return "vector";
  }
  return "?";
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
                                           const std::string& origin)
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
        detail::as_text(next_record("the origin of the weights")) == origin)
      return;
    file_.reset();
  }
  output_ = std::make_unique<pllava::detail::OutputFile>(path_);
  output_->write(detail::kPackedMagic.data(), detail::kPackedMagic.size());
  output_->write(detail::kPackedLayout.data(), detail::kPackedLayout.size());
  write_record(origin.data(), origin.size());
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
  if (left < sizeof size || left - sizeof size < size)
    throw damaged(expected + " at offset " + std::to_string(at_), "the end of the file");
  const auto record = all.subspan(at_ + sizeof size, static_cast<std::size_t>(size));
  at_ += sizeof size + record.size();
  return record;
}

PLLAVA_INLINE void PackedWeights::write_record(const void* data, std::size_t size) {
  const auto length = static_cast<std::uint64_t>(size);
  output_->write(&length, sizeof length);
  output_->write(data, size);
}

PLLAVA_INLINE void PackedWeights::begin_weight(const std::string& key) {
  key_ = key;
  if (writes()) write_record(key.data(), key.size());
  if (!reads()) return;
  const std::string_view stored = detail::as_text(next_record("the weight"));
  if (stored != key) throw damaged("the weight at this place", std::string(stored.substr(0, 400)));
}

PLLAVA_INLINE void PackedWeights::read(void* memory, Index bytes, ThreadPool& pool) {
  const auto block = next_record("a block of " + std::to_string(bytes) + " bytes");
  if (block.size() != static_cast<std::size_t>(bytes))
    throw damaged("a block of " + std::to_string(bytes) + " bytes",
                  "one of " + std::to_string(block.size()));
  const auto begin_of_block = static_cast<std::size_t>(block.data() - file_->bytes().data());
  constexpr Index kPart = Index{4} << 20;
  pool.run((bytes + kPart - 1) / kPart, [&](Index i) {
    const Index begin = i * kPart;
    const auto part = static_cast<std::size_t>(std::min(kPart, bytes - begin));
    std::memcpy(static_cast<std::byte*>(memory) + begin, block.data() + begin, part);
    // The copy is resident now; the pages of the file need not be.
    file_->release(begin_of_block + static_cast<std::size_t>(begin), part);
  });
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
