// A file of weights in the CPU backend's layout, so that a model is packed once and not at every
// start. Each weight is stored under a key, in the order in which the model prepares them.
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string>

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
  /// Reads `path` if it was written for the same `origin`, which identifies the content of the
  /// source files and the load options; otherwise writes a new file, which replaces `path` on
  /// commit(). Throws LoadError if `path` exists and is not a file of packed weights, FileError if
  /// it cannot be written.
  PackedWeights(const std::filesystem::path& path, const std::string& origin);
  PackedWeights(const PackedWeights&) = delete;
  PackedWeights& operator=(const PackedWeights&) = delete;
  ~PackedWeights();

  /// Whether weights are read from the file or written to a new one; neither after commit().
  bool reads() const noexcept { return file_ != nullptr; }
  bool writes() const noexcept { return output_ != nullptr; }
  /// Starts the next weight; its blocks follow. Throws LoadError if the file holds another weight
  /// at this place, FileError if the new file cannot be written.
  void begin_weight(const std::string& key);
  /// Reads the next block of the weight. Throws LoadError if it has another size or is cut off.
  void read(void* memory, Index bytes, ThreadPool& pool);
  /// Writes the next block of the weight. Throws FileError.
  void write(const void* memory, Index bytes);
  /// Ends the file after the last weight. A new file appears now, complete. Throws LoadError if the
  /// file that was read holds more, FileError if the new file cannot be written.
  void commit();

 private:
  LoadError damaged(const std::string& expected, const std::string& got) const;
  /// The bytes of the next record. A record is its length and its bytes.
  std::span<const std::byte> next_record(const std::string& expected);
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
