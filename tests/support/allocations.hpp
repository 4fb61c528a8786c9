// Counts allocations of heap memory, or makes them fail, in all threads.
#pragma once

namespace test {

/// What is counted. Sanitizers have a malloc of their own, so there `all` means `operator_new`.
enum class Counted { all, operator_new };

/// Counts the allocations during its lifetime. At most one object of this file exists at a time.
class AllocationCounter {
 public:
  explicit AllocationCounter(Counted counted = Counted::all);
  ~AllocationCounter();
  AllocationCounter(const AllocationCounter&) = delete;
  AllocationCounter& operator=(const AllocationCounter&) = delete;

  long count() const;
  /// Whether calls of malloc can be counted.
  static bool counts_malloc();
};

/// Which allocations fail: one, or that one and all after it.
enum class Failing { one, all_later };

/// During its lifetime, allocation number `n` of those that are counted fails, from 1.
class FailingAllocations {
 public:
  FailingAllocations(long n, Failing which, Counted counted = Counted::all);
  ~FailingAllocations();
  FailingAllocations(const FailingAllocations&) = delete;
  FailingAllocations& operator=(const FailingAllocations&) = delete;
};

}  // namespace test
