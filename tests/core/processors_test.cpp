// The number of processors that a process may use.
#include "pllava/core/processors.hpp"

#include <filesystem>
#include <sstream>
#include <string>
#include <thread>

#include "pllava/core/thread_pool.hpp"
#include "support/catch.hpp"
#include "support/temp_directory.hpp"

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

TEST_CASE("Quotas of both versions of control groups are read", "[processors]") {
  const test::TempDirectory root;
  const auto granted = [&](const std::string& groups) {
    std::istringstream lines(groups);
    return detail::granted_processors(lines, root.path().string(), 8);
  };
  std::filesystem::create_directories(root / "box/inner");
  std::filesystem::create_directories(root / "cpu/docker/1");
  root.write("box/cpu.max", "300000 100000\n");
  root.write("box/inner/cpu.max", "max 100000\n");
  root.write("cpu/docker/1/cpu.cfs_quota_us", "150000\n");
  root.write("cpu/docker/1/cpu.cfs_period_us", "100000\n");
  root.write("cpu/docker/cpu.cfs_quota_us", "-1\n");
  root.write("cpu/docker/cpu.cfs_period_us", "100000\n");
  CHECK(granted("0::/box/inner\n") == 3);
  CHECK(granted("0::/\n") == 8);
  CHECK(granted("12:memory:/docker/1\n4:cpu,cpuacct:/docker/1\n0::/\n") == 2);
  CHECK(granted("4:cpuset:/docker/1\n") == 8);
  CHECK(granted("4:cpu:/docker\n") == 8);
  for (const char* invalid : {"", "0", "::", "0::", "0::box\n", "x:y:z"})
    CHECK(granted(invalid) == 8);
}

TEST_CASE("An impossible number of threads is refused", "[processors]") {
  CHECK_THROWS_AS(ThreadPool(-1), ArgumentError);
  CHECK_THROWS_AS(ThreadPool(ThreadPool::kMaxThreads + 1), ArgumentError);
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
