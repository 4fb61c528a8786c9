#include "pllava/core/stack_arena.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <utility>
#include <vector>

#include "pllava/error.hpp"
#include "support/catch.hpp"

namespace {

using pllava::Index;
using pllava::StackArena;

constexpr Index kAlignment = 256, kBlock = Index{1} << 20;

/// An arena that appends the sizes of its blocks to `sizes` and throws above `limit` bytes.
StackArena arena(std::vector<Index>& sizes, Index limit = Index{1} << 30) {
  return {kAlignment, kBlock, [&sizes, limit](Index bytes) -> std::shared_ptr<void> {
            if (bytes > limit) throw pllava::OutOfMemoryError("scratch", 1);
            sizes.push_back(bytes);
            return {std::aligned_alloc(kAlignment, static_cast<std::size_t>(bytes)),
                    [](void* p) { std::free(p); }};
          }};
}

TEST_CASE("equal sequences of calls get equal addresses", "[stack_arena]") {
  std::vector<Index> sizes;
  StackArena stack = arena(sizes);
  const auto calls = [&] {
    const StackArena::Scope scope(stack);
    std::vector<void*> all = {stack.allocate(100), stack.allocate(3 << 20)};
    {
      const StackArena::Scope inner(stack);
      all.push_back(stack.allocate(5 << 20));
    }
    all.push_back(stack.allocate(1));
    return all;
  };
  const auto first = calls();
  CHECK(sizes == std::vector<Index>{kBlock, 3 << 20, 5 << 20});
  CHECK(calls() == first);
  CHECK(calls() == first);
  CHECK(sizes.size() == 3);     // later calls allocate no blocks
  CHECK(first[3] == first[2]);  // the inner scope released its memory
  for (void* p : first) CHECK(reinterpret_cast<std::uintptr_t>(p) % kAlignment == 0);
}

TEST_CASE("allocations do not overlap", "[stack_arena]") {
  std::vector<Index> sizes;
  StackArena stack = arena(sizes);
  const StackArena::Scope scope(stack);
  std::vector<std::pair<std::byte*, Index>> all;
  for (const Index size : {1, 64, 65, 1 << 20, 100, 2 << 20, 7}) {
    auto* p = static_cast<std::byte*>(stack.allocate(size));
    std::fill_n(p, size, static_cast<std::byte>(all.size() + 1));
    all.emplace_back(p, size);
  }
  for (std::size_t b = 0; b < all.size(); ++b) {
    const auto [p, size] = all[b];
    CHECK(
        std::all_of(p, p + size, [&](std::byte x) { return x == static_cast<std::byte>(b + 1); }));
  }
}

TEST_CASE("a failed allocation leaves the arena unchanged", "[stack_arena]") {
  std::vector<Index> sizes;
  StackArena stack = arena(sizes, 4 * kBlock);
  const StackArena::Scope scope(stack);
  auto* const before = static_cast<std::byte*>(stack.allocate(10));
  CHECK_THROWS_AS(stack.allocate(5 * kBlock), pllava::OutOfMemoryError);
  CHECK(static_cast<std::byte*>(stack.allocate(10)) == before + kAlignment);
  CHECK(sizes.size() == 1);
}

}  // namespace
