// Reads GGUF files of versions 2 and 3, as llama.cpp writes them: metadata and tensors. Reading is
// strict and safe on hostile files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "pllava/error.hpp"
#include "pllava/io/mapped_file.hpp"
#include "pllava/weights/weight_source.hpp"

namespace pllava {

namespace detail {
class GgufReader;
}

/// Whether a model is a GGUF file: a file that begins like one, or what is named so, but for a
/// directory.
bool is_gguf(const std::filesystem::path& model);

/// A value of the metadata. Integers of all widths are widened, arrays have one type of elements.
using GgufValue = std::variant<std::uint64_t, std::int64_t, double, bool, std::string,
                               std::vector<std::uint64_t>, std::vector<std::int64_t>,
                               std::vector<double>, std::vector<bool>, std::vector<std::string>>;

/// How the elements of a tensor are stored; the numbers are those of the format.
enum class GgufType : std::uint32_t {
  f32 = 0,
  f16 = 1,
  q4_0 = 2,
  q4_1 = 3,
  q5_0 = 6,
  q5_1 = 7,
  q8_0 = 8,
  q4_k = 12,
  q5_k = 13,
  q6_k = 14,
  bf16 = 30,
};

/// "Q4_K"; "type 99" for a number that is not among them.
std::string name_of(GgufType type);

struct GgufEntry {
  std::string name;
  GgufType type = GgufType::f32;  ///< may be a type that tensor() refuses
  std::vector<Index> dims;        ///< slowest first, like all shapes here; the file has the reverse
  std::size_t offset = 0;         ///< from the start of the file, in bytes
  std::size_t size = 0;           ///< in bytes; 0 if the type is not known
};

/// A mapped GGUF file. Immutable, cheap to copy, safe to share between threads.
class GgufFile {
 public:
  /// Maps the file and checks its header; tensor data are not read. Throws LoadError for any
  /// violation of the format: truncation, another version, big-endian numbers, lengths beyond the
  /// file, a key or name twice, tensors that overlap, lie outside of the file or do not fill
  /// blocks.
  static GgufFile open(const std::filesystem::path& path);

  const std::string& path() const noexcept { return file_->path(); }
  const std::map<std::string, GgufValue, std::less<>>& metadata() const noexcept {
    return contents_->metadata;
  }
  /// The value of a key as T, one of GgufValue's types; integers convert to each other where the
  /// value fits. Throws LoadError if the key is missing or has another type.
  template <class T>
  T get(std::string_view key) const;
  /// Whether there is such a key.
  bool has(std::string_view key) const { return metadata().contains(key); }

  /// In the order of the file.
  const std::vector<GgufEntry>& entries() const noexcept { return contents_->entries; }
  /// A digest of the content that is cheap to compute: the size, the header, and of each tensor the
  /// first, middle and last 4 KiB. A change of other bytes is not seen.
  std::uint64_t sampled_digest() const;

  /// The entry of this name, or nullptr.
  const GgufEntry* find(std::string_view name) const noexcept;

  /// The tensor. F32, F16 and BF16 are borrowed from the mapped file; quantized types are
  /// dequantized to f32. Throws LoadError (no such tensor, a type that is not in GgufType, more
  /// than 4 dimensions), OutOfMemoryError.
  HostTensor tensor(std::string_view name) const;

 private:
  struct Contents {
    std::map<std::string, GgufValue, std::less<>> metadata;
    std::vector<GgufEntry> entries;
    std::map<std::string, std::size_t, std::less<>> by_name;
  };
  friend class detail::GgufReader;

  GgufFile(std::shared_ptr<const MappedFile> file, std::shared_ptr<const Contents> contents)
      : file_(std::move(file)), contents_(std::move(contents)) {}
  LoadError error(const std::string& problem, std::string_view where, std::string expected,
                  std::string got) const {
    return {problem,
            {.file = path(),
             .tensor = std::string(where),
             .expected = std::move(expected),
             .got = std::move(got)}};
  }
  const GgufValue& value(std::string_view key) const;

  std::shared_ptr<const MappedFile> file_;
  std::shared_ptr<const Contents> contents_;
};

template <class T>
T GgufFile::get(std::string_view key) const {
  const GgufValue& held = value(key);
  if (const T* exact = std::get_if<T>(&held)) return *exact;
  if constexpr (std::is_same_v<T, std::uint64_t>) {
    const auto* number = std::get_if<std::int64_t>(&held);
    if (number != nullptr && *number >= 0) return static_cast<std::uint64_t>(*number);
  } else if constexpr (std::is_same_v<T, std::int64_t>) {
    const auto* number = std::get_if<std::uint64_t>(&held);
    if (number != nullptr && *number <= static_cast<std::uint64_t>(INT64_MAX))
      return static_cast<std::int64_t>(*number);
  }
  throw error("the metadata have a value of another type", key, {}, {});
}

}  // namespace pllava

#ifndef PLLAVA_COMPILED
#include "pllava/weights/detail/gguf_inl.hpp"
#endif
