// Tasks, exceptions and nesting of the thread pool.
#include "pllava/core/thread_pool.hpp"

#include <atomic>
#include <numeric>
#include <stdexcept>
#include <thread>
#include <vector>

#include "support/catch.hpp"

namespace {

using pllava::Index;
using pllava::ThreadPool;

TEST_CASE("Every task runs once for any number of threads", "[thread_pool][threads]") {
  for (const Index threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    CHECK(pool.size() == threads);
    for (const Index count : {0, 1, 2, 1000}) {
      std::vector<std::atomic<int>> runs(static_cast<std::size_t>(count));
      pool.run(count, [&](Index i) { ++runs[static_cast<std::size_t>(i)]; });
      for (const auto& n : runs) CHECK(n == 1);
    }
  }
}

TEST_CASE("concurrent tasks have different thread indices", "[thread_pool][threads]") {
  for (const Index threads : {1, 4}) {
    ThreadPool pool(threads);
    std::vector<std::atomic<bool>> in_use(static_cast<std::size_t>(threads));
    std::atomic<int> collisions{0}, out_of_range{0};
    pool.run(2000, [&](Index, Index thread) {
      if (thread < 0 || thread >= pool.size()) {
        ++out_of_range;
        return;
      }
      std::atomic<bool>& mine = in_use[static_cast<std::size_t>(thread)];
      if (mine.exchange(true)) ++collisions;
      mine = false;
    });
    CHECK(out_of_range == 0);
    CHECK(collisions == 0);
  }
}

TEST_CASE("run rethrows the exception of a task and the pool stays usable",
          "[thread_pool][threads]") {
  ThreadPool pool(3);
  for (int round = 0; round < 50; ++round)
    CHECK_THROWS_AS(pool.run(100,
                             [](Index i) {
                               if (i % 7 == 3) throw std::runtime_error("task");
                             }),
                    std::runtime_error);
  std::atomic<Index> sum{0};
  pool.run(100, [&](Index i) { sum += i; });
  CHECK(sum == 4950);
}

TEST_CASE("Several threads can share a pool, and tasks can run tasks", "[thread_pool][threads]") {
  ThreadPool pool(2);
  std::vector<Index> sums(4);
  {
    std::vector<std::jthread> callers;
    for (Index& sum : sums)
      callers.emplace_back([&] {
        for (int round = 0; round < 100; ++round) {
          std::atomic<Index> total{0};
          pool.run(20, [&](Index i) { pool.run(3, [&](Index j) { total += i * j; }); });
          sum += total;
        }
      });
  }
  for (const Index sum : sums) CHECK(sum == 100 * 190 * 3);
}

}  // namespace
