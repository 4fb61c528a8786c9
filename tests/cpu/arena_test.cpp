#include "pllava/cpu/arena.hpp"

#include <cstdint>
#include <cstring>

#include "support/catch.hpp"

namespace {

using pllava::Index;
using namespace pllava::cpu;

TEST_CASE("memory of the CPU backend is aligned for every size", "[arena]") {
  for (const Index bytes : {Index{0}, Index{1}, Index{64}, Index{1} << 20, (Index{5} << 20) + 1}) {
    const auto memory = aligned_memory(bytes, "a test");
    CHECK(reinterpret_cast<std::uintptr_t>(memory.get()) % kAlignment == 0);
    std::memset(memory.get(), 1, static_cast<std::size_t>(bytes));
  }
}

TEST_CASE("scratch memory beyond the machine's throws OutOfMemoryError", "[arena]") {
  const auto arena = make_arena();
  const pllava::StackArena::Scope scope(*arena);
  CHECK(arena->allocate(10) != nullptr);
  CHECK_THROWS_AS(arena->allocate(Index{1} << 57), pllava::OutOfMemoryError);
  CHECK(arena->allocate(10) != nullptr);
}

}  // namespace
