// A file of weights as the CPU backend lays them out, so that a model is packed once and not at
// every start. It holds their memory block by block, in the order in which a model prepares them.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "pllava/core/thread_pool.hpp"
#include "pllava/io/mapped_file.hpp"

namespace pllava {
namespace detail {
class OutputFile;
}

namespace cpu {

/// Belongs to one thread at a time.
class PackedWeights {
 public:
  /// Reads `path` if it was written for the same `origin`, which says what the weights are made of;
  /// otherwise collects a new file, which takes its place on commit(). Throws LoadError where
  /// `path` is there and holds anything but packed weights, or cannot be written.
  PackedWeights(const std::filesystem::path& path, const std::string& origin);
  PackedWeights(const PackedWeights&) = delete;
  PackedWeights& operator=(const PackedWeights&) = delete;
  ~PackedWeights();

  /// Whether weights come from the file, or go to a new one; neither once it is committed.
  bool reads() const noexcept { return file_ != nullptr; }
  bool writes() const noexcept { return output_ != nullptr; }
  /// The next block of the file. Throws LoadError if it has another size or the file is cut off.
  void read(void* memory, Index bytes, ThreadPool& pool);
  /// The next block for the file. Throws LoadError.
  void write(const void* memory, Index bytes);
  /// All weights are there: the file appears, whole. After reading, throws LoadError if something
  /// is left over.
  void commit();

 private:
  LoadError broken(const std::string& expected, const std::string& got) const;

  std::filesystem::path path_;
  std::shared_ptr<const MappedFile> file_;
  std::size_t at_ = 0;  // where the next block begins
  std::unique_ptr<pllava::detail::OutputFile> output_;
};

}  // namespace cpu
}  // namespace pllava

#ifndef PLLAVA_COMPILED
#include "pllava/cpu/detail/packed_weights_inl.hpp"
#endif
