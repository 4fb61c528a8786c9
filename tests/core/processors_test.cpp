// The number of processors that a process may use.
#include "pllava/core/processors.hpp"

#include <thread>

#include "pllava/core/thread_pool.hpp"
#include "support/catch.hpp"

namespace {

using namespace pllava;

TEST_CASE("A CPU quota is rounded up to whole processors", "[processors]") {
  using detail::granted_processors;
  CHECK(granted_processors("max 100000", 8) == 8);
  CHECK(granted_processors("200000 100000", 8) == 2);
  CHECK(granted_processors("150000 100000", 8) == 2);
  CHECK(granted_processors("1000 100000", 8) == 1);
  CHECK(granted_processors("1600000 100000", 8) == 8);
  for (const char* invalid : {"", "100000", "-1 100000", "0 100000", "100000 0", "nan nan"})
    CHECK(granted_processors(invalid, 8) == 8);
}

#ifdef __linux__
TEST_CASE("A thread bound to one processor creates a pool of one thread", "[processors]") {
  Index available = 0, threads = 0;
  bool bound = false;
  std::thread([&] {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(static_cast<std::size_t>(sched_getcpu()), &one);
    bound = sched_setaffinity(0, sizeof one, &one) == 0;
    available = available_processors();
    threads = ThreadPool().size();
  }).join();
  REQUIRE(bound);
  CHECK(available == 1);
  CHECK(threads == 1);
  CHECK(ThreadPool(3).size() == 3);  // an explicit count is used
}
#endif

}  // namespace
