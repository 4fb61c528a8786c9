// A stack allocator for scratch memory: bump allocation in blocks that are kept.
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "pllava/config.hpp"

namespace pllava {

/// Hands out memory in stack order; a Scope releases what was allocated during its lifetime. Equal
/// sequences of calls get equal addresses, and only the first of them allocates blocks. The memory
/// may be host or device memory: the arena never accesses it.
/// Threads: belongs to one thread at a time.
class StackArena {
 public:
  /// Returns a block of at least `bytes` bytes, aligned to the arena's alignment. Throws
  /// OutOfMemoryError.
  using AllocateBlock = std::function<std::shared_ptr<void>(Index bytes)>;

  /// `alignment` in bytes, of every address; `min_block_bytes` is the size of the blocks, larger
  /// requests get a block of their size.
  StackArena(Index alignment, Index min_block_bytes, AllocateBlock allocate_block)
      : alignment_(alignment),
        min_block_bytes_(min_block_bytes),
        allocate_block_(std::move(allocate_block)) {}
  StackArena(const StackArena&) = delete;
  StackArena& operator=(const StackArena&) = delete;

  /// Releases in its destructor what was allocated since its construction.
  class Scope {
   public:
    explicit Scope(StackArena& arena) : arena_(arena), block_(arena.block_), used_(arena.used_) {}
    ~Scope() {
      arena_.block_ = block_;
      arena_.used_ = used_;
    }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    StackArena& arena_;
    std::size_t block_;
    Index used_;
  };

  /// Uninitialised memory. Throws what `allocate_block` throws; the arena is then unchanged.
  void* allocate(Index bytes) {
    bytes = (bytes + alignment_ - 1) / alignment_ * alignment_;
    std::size_t block = block_;
    Index used = used_;
    while (block < blocks_.size() && used + bytes > blocks_[block].bytes) ++block, used = 0;
    if (block == blocks_.size()) {
      const Index size = std::max(bytes, min_block_bytes_);
      blocks_.push_back({allocate_block_(size), size});
    }
    void* const memory = static_cast<std::byte*>(blocks_[block].memory.get()) + used;
    block_ = block;
    used_ = used + bytes;
    return memory;
  }

 private:
  struct Block {
    std::shared_ptr<void> memory;
    Index bytes;
  };

  Index alignment_;
  Index min_block_bytes_;
  AllocateBlock allocate_block_;
  std::vector<Block> blocks_;
  std::size_t block_ = 0;  // top of the stack: the block and the bytes used of it
  Index used_ = 0;
};

}  // namespace pllava
