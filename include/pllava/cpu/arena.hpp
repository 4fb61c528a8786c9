// Scratch memory as a stack: the same calls get the same addresses, and nothing is freed in
// between.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <new>
#include <vector>

#include "pllava/config.hpp"
#include "pllava/error.hpp"

namespace pllava::cpu {

/// 64-byte aligned memory, uninitialised. Throws OutOfMemoryError.
inline std::shared_ptr<void> aligned_memory(Index bytes, const char* what_for) {
  const std::size_t size = std::max<std::size_t>(static_cast<std::size_t>(bytes), 64);
  void* p = ::operator new (size, std::align_val_t{64}, std::nothrow);
  if (p == nullptr) throw OutOfMemoryError(what_for, size);
  return {p, [](void* q) { ::operator delete (q, std::align_val_t{64}); }};
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
