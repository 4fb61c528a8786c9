// Scratch memory as a stack: the same calls get the same addresses, and nothing is freed in
// between.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "pllava/config.hpp"
#include "pllava/error.hpp"

namespace pllava::cpu {

/// Memory aligned to 64 bytes, uninitialised; what is large comes in huge pages where the system
/// has them, since streaming weights through 4 KiB pages costs a third of the bandwidth. What does
/// not fill a huge page at its end does without, or the rest would be resident for nothing. Throws
/// OutOfMemoryError.
inline std::shared_ptr<void> aligned_memory(Index bytes, const char* what_for) {
  constexpr std::size_t kHugePage = std::size_t{1} << 21;
  std::size_t size = std::max<std::size_t>(static_cast<std::size_t>(bytes), 64);
  const std::size_t alignment = size < 2 * kHugePage ? 64 : kHugePage;
  size = (size + alignment - 1) / alignment * alignment;
  void* p = std::aligned_alloc(alignment, size);
  if (p == nullptr) throw OutOfMemoryError(what_for, size);
#if defined(__linux__)
  if (alignment == kHugePage) {
    const std::size_t whole = static_cast<std::size_t>(bytes) / kHugePage * kHugePage;
    ::madvise(p, whole, MADV_HUGEPAGE);  // a wish: failing is harmless
  }
#endif
  return {p, [](void* q) { std::free(q); }};
}

/// Grows by blocks that are kept. Belongs to one thread at a time.
class Arena {
 public:
  /// Restores the top of the stack when it goes out of scope.
  class Scope {
   public:
    explicit Scope(Arena& arena) : arena_(arena), block_(arena.block_), used_(arena.used_) {}
    ~Scope() {
      arena_.block_ = block_;
      arena_.used_ = used_;
    }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Arena& arena_;
    std::size_t block_;
    Index used_;
  };

  /// Throws OutOfMemoryError.
  void* allocate(Index bytes) {
    bytes = (bytes + 63) / 64 * 64;
    while (block_ < blocks_.size() && used_ + bytes > blocks_[block_].size) ++block_, used_ = 0;
    if (block_ == blocks_.size()) {
      const Index size = std::max<Index>(bytes, Index{1} << 20);
      blocks_.push_back({aligned_memory(size, "scratch"), size});
      used_ = 0;
    }
    auto* p = static_cast<std::byte*>(blocks_[block_].memory.get()) + used_;
    used_ += bytes;
    return p;
  }

 private:
  struct Block {
    std::shared_ptr<void> memory;
    Index size;
  };
  std::vector<Block> blocks_;
  std::size_t block_ = 0;
  Index used_ = 0;
};

}  // namespace pllava::cpu
