// A file of weights in the CPU backend's layout, so that a model is packed once and not at every
// start. Each weight is stored under a key, in the order in which the model prepares them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "pllava/core/backend.hpp"
#include "pllava/core/thread_pool.hpp"
#include "pllava/io/mapped_file.hpp"

namespace pllava {
namespace detail {
class OutputFile;
}

namespace cpu {

/// The key of a weight: its role, the type of the computation, and name, shape, stored type and
/// format of each tensor in it. A tensor without a name (a table that the model computes) is
/// identified by a digest of its bytes.
std::string packed_key(std::span<const HostTensor> parts, WeightRole role, DType dtype);

/// Threads: belongs to one thread at a time.
class PackedWeights {
 public:
  /// Reads `path` if its origin, which identifies the content of the source files and the load
  /// options, is `is_current`; otherwise writes a new file with `origin()`, which replaces `path`
  /// on commit(). Throws LoadError if `path` exists and is not a file of packed weights, FileError
  /// if it cannot be written, and what the functions throw.
  PackedWeights(const std::filesystem::path& path,
                const std::function<bool(std::string_view)>& is_current,
                const std::function<std::string()>& origin);
  /// The same for an origin that must be equal.
  PackedWeights(const std::filesystem::path& path, const std::string& origin)
      : PackedWeights(
            path, [&](std::string_view stored) { return stored == origin; },
            [&] { return origin; }) {}
  PackedWeights(const PackedWeights&) = delete;
  PackedWeights& operator=(const PackedWeights&) = delete;
  ~PackedWeights();

  /// Whether weights are read from the file or written to a new one; neither after commit().
  bool reads() const noexcept { return file_ != nullptr; }
  bool writes() const noexcept { return output_ != nullptr; }
  /// Starts the next weight; its blocks follow. Throws LoadError if the file holds another weight
  /// at this place, FileError if the new file cannot be written.
  void begin_weight(const std::string& key);
  /// Reads the next block of the weight. Throws LoadError if it has another size, is cut off, or
  /// does not have its checksum; `memory` is then undefined.
  void read(void* memory, Index bytes, ThreadPool& pool);
  /// Writes the next block of the weight. Throws FileError.
  void write(const void* memory, Index bytes);
  /// Ends the file after the last weight. A new file appears now, complete. Throws LoadError if the
  /// file that was read holds more, FileError if the new file cannot be written.
  void commit();

 private:
  LoadError damaged(const std::string& expected, const std::string& got) const;
  static constexpr std::size_t kChecksum = sizeof(std::uint64_t);

  /// The bytes of the next record, which its checksums follow.
  std::span<const std::byte> next_record(const std::string& expected);
  /// Whether a part of a record has its checksum.
  bool is_intact(std::span<const std::byte> record, std::size_t part) const noexcept;
  /// The record. Throws LoadError unless it has its checksums.
  std::span<const std::byte> checked(std::span<const std::byte> record) const;
  void write_record(const void* data, std::size_t size);

  std::filesystem::path path_;
  std::shared_ptr<const MappedFile> file_;
  std::size_t at_ = 0;  // offset of the next record
  std::string key_;     // of the current weight
  std::unique_ptr<pllava::detail::OutputFile> output_;
};

}  // namespace cpu
}  // namespace pllava

#ifndef PLLAVA_COMPILED
#include "pllava/cpu/detail/packed_weights_inl.hpp"
#endif
