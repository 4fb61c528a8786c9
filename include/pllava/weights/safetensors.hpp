// Reads and writes safetensors files. Reading is strict; a file is written completely or not at all
// (reference 7.1).
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "pllava/io/mapped_file.hpp"
#include "pllava/weights/weight_source.hpp"

namespace pllava {

/// A tensor of a file. The format has more dtypes and ranks than the library supports: such a
/// tensor has an entry, and SafetensorsFile::tensor refuses it.
struct SafetensorsEntry {
  std::string name;
  std::string format_dtype;    ///< as written in the file: "BF16", "I64", ...
  std::optional<DType> dtype;  ///< absent if the library does not support it
  std::vector<Index> dims;
  std::size_t offset = 0;  ///< from the start of the file, in bytes
  std::size_t size = 0;    ///< in bytes
};

/// A mapped safetensors file. Immutable, cheap to copy, safe to share between threads.
class SafetensorsFile {
 public:
  /// Maps the file and checks its header; tensor data are not read. Throws LoadError for any
  /// violation of the format: truncation, a header that is too long or not a JSON object of
  /// distinct names, an unknown dtype, a shape that overflows or disagrees with its offsets, holes,
  /// overlaps, bytes that belong to no tensor.
  static SafetensorsFile open(const std::filesystem::path& path);

  /// Sorted by offset.
  const std::vector<SafetensorsEntry>& entries() const noexcept { return contents_->entries; }
  const std::map<std::string, std::string>& metadata() const noexcept {
    return contents_->metadata;
  }
  const std::string& path() const noexcept { return file_->path(); }

  /// A digest of the content that is cheap to compute: the size, the header, and of each tensor the
  /// first, middle and last 4 KiB. A change of other bytes is not seen.
  std::uint64_t sampled_digest() const;

  /// The entry of this name, or nullptr.
  const SafetensorsEntry* find(std::string_view name) const noexcept;

  /// The tensor, in the mapped file. When the last copy of its owner is destroyed, its pages are
  /// released to the system. Throws LoadError (no such tensor, unsupported dtype or rank),
  /// OutOfMemoryError.
  HostTensor tensor(std::string_view name) const;

 private:
  struct Contents {
    std::vector<SafetensorsEntry> entries;
    std::map<std::string, std::size_t, std::less<>> by_name;
    std::map<std::string, std::string> metadata;
  };

  SafetensorsFile(std::shared_ptr<const MappedFile> file, std::shared_ptr<const Contents> contents)
      : file_(std::move(file)), contents_(std::move(contents)) {}

  std::shared_ptr<const MappedFile> file_;
  std::shared_ptr<const Contents> contents_;
};

struct NamedTensor {
  std::string name;
  HostTensor tensor;
};

/// Writes `tensors` to a temporary file in the same directory and renames it to `path`, so that
/// `path` is either complete or unchanged. Throws FileError if the file cannot be written,
/// ArgumentError for a name that is used twice, reserved by the format or not UTF-8.
void write_safetensors(const std::filesystem::path& path, std::span<const NamedTensor> tensors,
                       const std::map<std::string, std::string>& metadata = {});

}  // namespace pllava

#ifndef PLLAVA_COMPILED
#include "pllava/weights/detail/safetensors_inl.hpp"
#include "pllava/weights/detail/safetensors_writer_inl.hpp"
#endif
