// The resources that the verbs of the CPU backend compute with.
#pragma once

#include "pllava/config.hpp"
#include "pllava/core/stack_arena.hpp"
#include "pllava/core/thread_pool.hpp"
#include "pllava/cpu/detail/per_thread.hpp"
#include "pllava/cpu/kernels.hpp"

namespace pllava::cpu::detail {

/// The kernels, threads and scratch memory of a backend.
struct ExecutionContext {
  const Kernels& kernels;
  ThreadPool& pool;
  StackArena& arena;

  /// Throws OutOfMemoryError.
  template <class T>
  PerThread<T> per_thread(Index count) const {
    return {arena, pool, count};
  }
};

constexpr Index ceil_div(Index n, Index d) {
  return (n + d - 1) / d;
}
constexpr Index round_up(Index n, Index multiple) {
  return ceil_div(n, multiple) * multiple;
}

}  // namespace pllava::cpu::detail
