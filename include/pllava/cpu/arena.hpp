// Memory of the CPU backend: aligned blocks, and the arena for its scratch memory.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <memory>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "pllava/config.hpp"
#include "pllava/core/stack_arena.hpp"
#include "pllava/error.hpp"

namespace pllava::cpu {

/// Alignment of all memory of the backend, in bytes: a cache line, and a vector of AVX-512.
inline constexpr Index kAlignment = 64;

/// Uninitialised memory aligned to kAlignment. Large memory is advised to use huge pages: streaming
/// weights through 4 KiB pages costs a third of the bandwidth. The tail uses 4 KiB pages; a partly
/// filled huge page would waste resident memory. Throws OutOfMemoryError.
inline std::shared_ptr<void> aligned_memory(Index bytes, const char* what_for) {
  constexpr std::size_t kHugePage = std::size_t{1} << 21;
  constexpr auto kSmallest = static_cast<std::size_t>(kAlignment);
  std::size_t size = std::max(static_cast<std::size_t>(bytes), kSmallest);
  const std::size_t alignment = size < 2 * kHugePage ? kSmallest : kHugePage;
  size = (size + alignment - 1) / alignment * alignment;
  void* p = std::aligned_alloc(alignment, size);
  if (p == nullptr) throw OutOfMemoryError(what_for, size);
#if defined(__linux__)
  if (alignment == kHugePage) {
    const std::size_t whole_pages = static_cast<std::size_t>(bytes) / kHugePage * kHugePage;
    ::madvise(p, whole_pages, MADV_HUGEPAGE);  // only advice: errors are ignored
  }
#endif
  return {p, [](void* q) { std::free(q); }};
}

/// An empty arena over aligned_memory, for scratch memory.
inline std::unique_ptr<StackArena> make_arena() {
  constexpr Index kBlockBytes = Index{1} << 20;
  return std::make_unique<StackArena>(kAlignment, kBlockBytes,
                                      [](Index bytes) { return aligned_memory(bytes, "scratch"); });
}

}  // namespace pllava::cpu
