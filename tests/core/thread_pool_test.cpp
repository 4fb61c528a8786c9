// Tasks, exceptions and nesting of the thread pool.
#include "pllava/core/thread_pool.hpp"

#include <atomic>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <thread>
#include <vector>

#include "support/catch.hpp"
#include "support/forked_child.hpp"

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

// Not tagged [threads]: ThreadSanitizer ends a forked child that starts threads.
TEST_CASE("a pool can be used and destroyed in a forked child", "[thread_pool]") {
  if (!test::can_fork_beside_threads()) return;
  auto pool = std::make_unique<ThreadPool>(4);
  const auto sum_to_100 = [&] {
    std::atomic<Index> sum{0};
    pool->run(101, [&](Index i) { sum += i; });
    return sum.load();
  };
  const auto use_and_destroy = [&] {
    if (sum_to_100() != 5050) return 1;
    const auto caller = std::this_thread::get_id();
    bool alone = true;
    pool->run(100, [&](Index) { alone = alone && std::this_thread::get_id() == caller; });
    if (!alone) return 2;
    pool.reset();
    ThreadPool another(4);  // with threads of the child
    std::atomic<Index> sum{0};
    another.run(101, [&](Index i) { sum += i; });
    return sum == 5050 ? 0 : 3;
  };
  CHECK(sum_to_100() == 5050);
  for (int round = 0; round < 20; ++round) CHECK(test::in_child(use_and_destroy) == 0);
  CHECK(sum_to_100() == 5050);
}

TEST_CASE("a fork while another thread uses the pool leaves a usable pool", "[thread_pool]") {
  if (!test::can_fork_beside_threads()) return;
  auto pool = std::make_unique<ThreadPool>(3);
  std::atomic<bool> stop{false};
  std::jthread user([&] {
    std::atomic<Index> sum{0};
    while (!stop) pool->run(50, [&](Index i) { sum += i; });
  });
  for (int round = 0; round < 50; ++round)
    CHECK(test::in_child([&] {
            std::atomic<Index> sum{0};
            pool->run(101, [&](Index i) { sum += i; });
            pool.reset();
            return sum == 5050 ? 0 : 1;
          }) == 0);
  stop = true;
}

}  // namespace
