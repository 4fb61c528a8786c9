// Bodies of cpu/packed_weights.hpp.
//
// The file: kPackedMark | origin: size, text | blocks: size, bytes. Sizes are 64 bits,
// little-endian.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <system_error>

#include "pllava/cpu/packed_weights.hpp"
#include "pllava/io/detail/output_file.hpp"

namespace pllava::cpu {

namespace detail {
inline constexpr std::string_view kPackedMark = "pllava: packed weights, layout 1\n";
}

PLLAVA_INLINE PackedWeights::PackedWeights(const std::filesystem::path& path,
                                           const std::string& origin)
    : path_(path) {
  std::string head(detail::kPackedMark);
  const auto size = static_cast<std::uint64_t>(origin.size());
  head.append(reinterpret_cast<const char*>(&size), sizeof size).append(origin);
  std::error_code error;
  if (std::filesystem::exists(path_, error)) {
    auto file = MappedFile::open(path_);
    const auto bytes = file->bytes();
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    if (!text.starts_with(detail::kPackedMark.substr(0, detail::kPackedMark.find(','))))
      throw LoadError("is not a file of packed weights, and is left as it is",
                      {.file = path_.string(), .tensor = {}, .expected = {}, .got = {}});
    if (text.starts_with(head)) {
      file_ = std::move(file);
      at_ = head.size();
      return;
    }
  }
  output_ = std::make_unique<pllava::detail::OutputFile>(path_);
  output_->write(head.data(), head.size());
}

PLLAVA_INLINE PackedWeights::~PackedWeights() = default;

PLLAVA_INLINE LoadError PackedWeights::broken(const std::string& expected,
                                              const std::string& got) const {
  return {"packed weights are broken; delete the file to have it made anew",
          {.file = path_.string(), .tensor = {}, .expected = expected, .got = got}};
}

PLLAVA_INLINE void PackedWeights::read(void* memory, Index bytes, ThreadPool& pool) {
  const auto all = file_->bytes();
  std::uint64_t size = 0;
  const std::size_t left = all.size() - at_;
  if (left >= sizeof size) std::memcpy(&size, all.data() + at_, sizeof size);
  const auto wanted = static_cast<std::uint64_t>(bytes);
  if (size != wanted || left - sizeof size < wanted)
    throw broken(
        "a block of " + std::to_string(bytes) + " bytes at " + std::to_string(at_),
        left < sizeof size + wanted ? "the end of the file" : "one of " + std::to_string(size));
  at_ += sizeof size;
  constexpr Index kPart = Index{4} << 20;
  pool.run((bytes + kPart - 1) / kPart, [&](Index i) {
    const Index begin = i * kPart;
    const auto part = static_cast<std::size_t>(std::min(kPart, bytes - begin));
    const std::size_t from = at_ + static_cast<std::size_t>(begin);
    std::memcpy(static_cast<std::byte*>(memory) + begin, all.data() + from, part);
    file_->release(from, part);  // copied: not resident twice
  });
  at_ += static_cast<std::size_t>(bytes);
}

PLLAVA_INLINE void PackedWeights::write(const void* memory, Index bytes) {
  const auto size = static_cast<std::uint64_t>(bytes);
  output_->write(&size, sizeof size);
  output_->write(memory, static_cast<std::size_t>(bytes));
}

PLLAVA_INLINE void PackedWeights::commit() {
  if (file_ != nullptr && at_ != file_->bytes().size())
    throw broken("the end of the file at " + std::to_string(at_),
                 std::to_string(file_->bytes().size() - at_) + " bytes more");
  if (output_ != nullptr) output_->commit();
  file_.reset();
  output_.reset();
}

}  // namespace pllava::cpu
