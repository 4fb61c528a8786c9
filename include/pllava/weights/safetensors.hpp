// The safetensors file format, read strictly and written whole or not at all (reference 7.1).
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

/// One tensor of a file. The format knows more types and ranks than the library computes with;
/// such an entry is listed, and refused only when its tensor is asked for.
struct SafetensorsEntry {
  std::string name;
  std::string format_dtype;    ///< as written in the file: "BF16", "I64", ...
  std::optional<DType> dtype;  ///< the library's type, where it has one
  std::vector<Index> dims;
  std::size_t offset = 0;  ///< from the start of the file, in bytes
  std::size_t size = 0;    ///< in bytes
};

/// A mapped safetensors file. Immutable, cheap to copy, safe to share between threads.
class SafetensorsFile {
 public:
  /// Maps the file and checks its header; tensor data are not touched. Throws LoadError for every
  /// departure from the format: truncation, a header that is too long or not a JSON object of
  /// distinct names, an unknown dtype, a shape that overflows or disagrees with its offsets, holes,
  /// overlaps, bytes that belong to no tensor.
  static SafetensorsFile open(const std::filesystem::path& path);

  /// In the order of their data.
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

  /// Borrows the tensor from the mapping. Its pages go back to the system when the last copy's
  /// owner dies. Throws LoadError: no such tensor, or a type or rank the library has none for.
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

/// Writes `tensors` to a neighbouring temporary file and renames it to `path`, so that `path` is
/// either complete or as it was. Throws FileError if the file cannot be written, ArgumentError for
/// a name used twice or reserved by the format.
void write_safetensors(const std::filesystem::path& path, std::span<const NamedTensor> tensors,
                       const std::map<std::string, std::string>& metadata = {});

}  // namespace pllava

#ifndef PLLAVA_COMPILED
#include "pllava/weights/detail/safetensors_inl.hpp"
#endif
