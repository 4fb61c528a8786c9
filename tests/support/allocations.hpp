// Counts allocations of heap memory, or makes them fail, in all threads.
#pragma once

namespace test {

/// Counts the allocations during its lifetime. At most one object of this file exists at a time.
class AllocationCounter {
 public:
  AllocationCounter();
  ~AllocationCounter();
  AllocationCounter(const AllocationCounter&) = delete;
  AllocationCounter& operator=(const AllocationCounter&) = delete;

  long count() const;
  /// Whether calls of malloc are counted, too. False with a sanitizer, whose malloc cannot be
  /// replaced: there only operator new is counted.
  static bool works();
};

/// Which allocations fail: one, or that one and all after it.
enum class Failing { one, all_later };

/// During its lifetime, allocation number `n` fails, counted from 1. What is counted, fails:
/// see AllocationCounter::works.
class FailingAllocations {
 public:
  FailingAllocations(long n, Failing which);
  ~FailingAllocations();
  FailingAllocations(const FailingAllocations&) = delete;
  FailingAllocations& operator=(const FailingAllocations&) = delete;
};

}  // namespace test
