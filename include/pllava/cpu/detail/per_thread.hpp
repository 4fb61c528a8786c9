// Buffers of the threads that run the tasks of a verb.
#pragma once

#include <cstddef>
#include <type_traits>

#include "pllava/core/stack_arena.hpp"
#include "pllava/core/thread_pool.hpp"
#include "pllava/cpu/arena.hpp"

namespace pllava::cpu::detail {

/// A buffer of `count` values for each thread of a pool, uninitialised, in scratch memory: tasks
/// that allocated their buffers would call malloc in every verb.
template <class T>
class PerThread {
  static_assert(std::is_trivially_copyable_v<T> && std::is_trivially_destructible_v<T>);

 public:
  /// Throws OutOfMemoryError.
  PerThread(StackArena& arena, const ThreadPool& pool, Index count)
      : stride_(padded_bytes(count)),
        memory_(static_cast<std::byte*>(arena.allocate(pool.size() * stride_))) {}

  T* operator[](Index thread) const { return reinterpret_cast<T*>(memory_ + thread * stride_); }

 private:
  /// Whole cache lines, so that threads share none, and one more: buffers whose size is a multiple
  /// of 4 KiB would otherwise start at equal page offsets, where loads wait for unrelated stores.
  static Index padded_bytes(Index count) {
    const Index bytes = count * static_cast<Index>(sizeof(T));
    return (bytes + kAlignment - 1) / kAlignment * kAlignment + kAlignment;
  }

  Index stride_;
  std::byte* memory_;
};

}  // namespace pllava::cpu::detail
