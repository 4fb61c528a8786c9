#include "pllava/cpu/arena.hpp"

#include <cstdint>

#include "support/catch.hpp"

namespace {

using pllava::Index;
using pllava::cpu::Arena;

TEST_CASE("Equal calls get equal addresses, nested scopes give theirs back", "[arena]") {
  Arena arena;
  const auto calls = [&] {
    const Arena::Scope scope(arena);
    std::vector<void*> all = {arena.allocate(100), arena.allocate(3 << 20)};
    {
      const Arena::Scope inner(arena);
      all.push_back(arena.allocate(5 << 20));
    }
    all.push_back(arena.allocate(1));
    return all;
  };
  const auto first = calls();
  CHECK(calls() == first);
  CHECK(calls() == first);
  CHECK(first[3] == first[2]);  // the inner scope's place is free again
  for (void* p : first) CHECK(reinterpret_cast<std::uintptr_t>(p) % 64 == 0);
}

TEST_CASE("Blocks are kept apart", "[arena]") {
  Arena arena;
  const Arena::Scope scope(arena);
  std::vector<std::pair<std::byte*, Index>> blocks;
  for (const Index size : {1, 64, 65, 1 << 20, 100, 2 << 20, 7}) {
    auto* p = static_cast<std::byte*>(arena.allocate(size));
    std::fill_n(p, size, static_cast<std::byte>(blocks.size() + 1));
    blocks.emplace_back(p, size);
  }
  for (std::size_t b = 0; b < blocks.size(); ++b) {
    const auto [p, size] = blocks[b];
    CHECK(
        std::all_of(p, p + size, [&](std::byte x) { return x == static_cast<std::byte>(b + 1); }));
  }
}

TEST_CASE("An arena that cannot grow says so and stays", "[arena]") {
  Arena arena;
  const Arena::Scope scope(arena);
  void* const before = arena.allocate(10);
  CHECK_THROWS_AS(arena.allocate(Index{1} << 57), pllava::OutOfMemoryError);
  CHECK(before != nullptr);
  CHECK(arena.allocate(10) != nullptr);
}

}  // namespace
