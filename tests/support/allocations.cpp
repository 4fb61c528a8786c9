// Replacements of operator new, and with glibc of malloc. Sanitizers replace malloc themselves.
#include "support/allocations.hpp"

#include <atomic>
#include <cerrno>
#include <climits>
#include <cstddef>
#include <cstdlib>
#include <new>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define PLLAVA_TEST_SANITIZED
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
    __has_feature(memory_sanitizer)
#define PLLAVA_TEST_SANITIZED
#endif
#endif

namespace {

std::atomic<bool> counting{false}, counting_malloc{false};
std::atomic<long> allocations{0};
// The numbers of the allocations that fail.
std::atomic<long> first_failing{LONG_MAX}, last_failing{LONG_MAX};

/// Counts an allocation. False if it must fail.
bool allowed() noexcept {
  if (!counting.load(std::memory_order_relaxed)) return true;
  const long n = allocations.fetch_add(1, std::memory_order_relaxed) + 1;
  if (n < first_failing || n > last_failing) return true;
  errno = ENOMEM;
  return false;
}

// Set while operator new calls malloc.
thread_local bool in_operator_new = false;

/// As allowed(), for calls of malloc.
[[maybe_unused]] bool malloc_allowed() noexcept {
  return in_operator_new || !counting_malloc.load(std::memory_order_relaxed) || allowed();
}

}  // namespace

#if defined(__GLIBC__) && !defined(PLLAVA_TEST_SANITIZED)
// glibc exports its functions under these names, too.
extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);

void* malloc(std::size_t size) noexcept {
  return malloc_allowed() ? __libc_malloc(size) : nullptr;
}
void* calloc(std::size_t count, std::size_t size) noexcept {
  return malloc_allowed() ? __libc_calloc(count, size) : nullptr;
}
void* realloc(void* memory, std::size_t size) noexcept {
  return malloc_allowed() ? __libc_realloc(memory, size) : nullptr;
}
void* aligned_alloc(std::size_t alignment, std::size_t size) noexcept {
  return malloc_allowed() ? __libc_memalign(alignment, size) : nullptr;
}
void* memalign(std::size_t alignment, std::size_t size) noexcept {
  return malloc_allowed() ? __libc_memalign(alignment, size) : nullptr;
}
int posix_memalign(void** memory, std::size_t alignment, std::size_t size) noexcept {
  void* const p = malloc_allowed() ? __libc_memalign(alignment, size) : nullptr;
  if (p == nullptr) return ENOMEM;
  *memory = p;
  return 0;
}
}
#endif

void* operator new(std::size_t size) {
  if (!allowed()) throw std::bad_alloc();
  in_operator_new = true;
  void* const memory = std::malloc(size == 0 ? 1 : size);
  in_operator_new = false;
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
void* operator new[](std::size_t size) {
  return ::operator new(size);
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  try {
    return ::operator new(size);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}
void* operator new[](std::size_t size, const std::nothrow_t& tag) noexcept {
  return ::operator new(size, tag);
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}
void operator delete[](void* memory) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, std::size_t) noexcept {
  std::free(memory);
}

namespace test {

AllocationCounter::AllocationCounter(Counted counted) {
  allocations = 0;
  counting_malloc = counted == Counted::all;
  counting = true;
}
AllocationCounter::~AllocationCounter() {
  counting = counting_malloc = false;
}
long AllocationCounter::count() const {
  return allocations;
}
bool AllocationCounter::counts_malloc() {
#if defined(__GLIBC__) && !defined(PLLAVA_TEST_SANITIZED)
  return true;
#else
  return false;
#endif
}

FailingAllocations::FailingAllocations(long n, Failing which, Counted counted) {
  allocations = 0;
  counting_malloc = counted == Counted::all;
  first_failing = n;
  last_failing = which == Failing::one ? n : LONG_MAX - 1;
  counting = true;
}
FailingAllocations::~FailingAllocations() {
  counting = counting_malloc = false;
  first_failing = LONG_MAX;
}

}  // namespace test
