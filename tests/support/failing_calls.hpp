// Repeats a call with failing allocations.
#pragma once

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <new>
#include <string>
#include <vector>

#include "pllava/error.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"

namespace test {

/// g++ 11 does not destroy the members of an aggregate whose initialization throws (GCC bug 66139),
/// so a failed call can leak there.
#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ < 12
inline constexpr bool kDestroysAggregates = false;
#else
inline constexpr bool kDestroysAggregates = true;
#endif

/// Open file descriptors of the process.
inline std::size_t open_files() {
  return static_cast<std::size_t>(std::distance(
      std::filesystem::directory_iterator("/proc/self/fd"), std::filesystem::directory_iterator()));
}

/// Mapped regions of files with this name.
inline std::size_t mappings_of(const std::string& name) {
  std::ifstream maps("/proc/self/maps");
  std::size_t count = 0;
  for (std::string line; std::getline(maps, line);) count += line.ends_with(name);
  return count;
}

/// Numbers in [1, count]: all up to `dense`, then with distances of 4/dense of the number.
inline std::vector<long> spread(long count, long dense) {
  std::vector<long> numbers;
  for (long n = 1; n <= count; n += n < dense ? 1 : 1 + 4 * n / dense) numbers.push_back(n);
  return numbers;
}

/// Calls `operation` with allocation n failing, for n in spread(allocations, dense). It must throw
/// std::bad_alloc or an Error, or succeed, and leave no open or mapped file. `check(succeeded,
/// which)` follows each call.
inline void with_failures(const std::function<void()>& operation,
                          const std::function<void(bool succeeded, Failing which)>& check,
                          long dense = 200, Counted counted = Counted::all) {
  operation();  // static objects are initialised, scratch memory is not
  long count = 0;
  {
    const AllocationCounter counter(counted);
    operation();
    count = counter.count();
  }
  check(true, Failing::one);
  REQUIRE(count > 0);
  const std::size_t files = open_files(), mappings = mappings_of(".safetensors");
  long failures = 0, calls = 0;
  for (const long n : spread(count, dense))
    for (const Failing which : {Failing::one, Failing::all_later}) {
      INFO("allocation " << n << " of " << count
                         << (which == Failing::one ? "" : " and all after it"));
      bool succeeded = false;
      try {
        const FailingAllocations failing(n, which, counted);
        operation();
        succeeded = true;
      } catch (const std::bad_alloc&) {
      } catch (const pllava::Error&) {
      }
      ++calls;
      failures += !succeeded;
      check(succeeded, which);
      if (kDestroysAggregates) {
        REQUIRE(open_files() == files);
        REQUIRE(mappings_of(".safetensors") == mappings);
      }
    }
  INFO(failures << " of " << calls << " calls failed");
  CHECK(failures >= calls / 2);
}

}  // namespace test
