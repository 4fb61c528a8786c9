// A fixed number of threads that run indexed tasks.
#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "pllava/config.hpp"
#include "pllava/core/fork_count.hpp"
#include "pllava/core/processors.hpp"
#include "pllava/error.hpp"

namespace pllava {

/// Runs indexed tasks on the calling thread and `threads - 1` workers. An idle worker spins for
/// about ten microseconds before it sleeps. That covers the time between two verbs; waking a thread
/// takes as long, and decoding a token calls hundreds of verbs. Threads: any thread may call `run`.
/// If the pool is busy, the caller runs its tasks alone. So several sessions can share a pool
/// without waiting for each other or oversubscribing the machine.
///
/// fork(2): the workers do not exist in the child. There `run` calls all tasks on the calling
/// thread, and the pool can be destroyed. A task itself must not fork, except to call exec.
class ThreadPool {
 public:
  static constexpr Index kMaxThreads = 1024;

  /// `threads` 0 means one for each processor that the process may use. Throws ArgumentError for a
  /// negative number or more than kMaxThreads, Error if the system cannot start them.
  explicit ThreadPool(Index threads = 0) {
    if (threads < 0 || threads > kMaxThreads)
      throw ArgumentError("the number of threads is " + std::to_string(threads) +
                          "; expected 1 to " + std::to_string(kMaxThreads) +
                          ", or 0 for one a processor");
    if (threads == 0) threads = std::min(available_processors(), kMaxThreads);
    try {
      workers_.reserve(static_cast<std::size_t>(threads - 1));
      for (Index i = 1; i < threads; ++i) workers_.emplace_back([this, i] { work(i); });
    } catch (const std::system_error& e) {
      stop();
      throw Error("cannot start " + std::to_string(threads) + " threads: " + e.what());
    } catch (...) {
      stop();
      throw;
    }
  }

  ~ThreadPool() {
    if (has_threads())
      stop();
    else
      forget_threads();
  }
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  Index size() const noexcept { return static_cast<Index>(workers_.size()) + 1; }

  /// Calls task(i) or task(i, thread) once for every i in [0, count), in any order; returns when
  /// all calls have returned. Calls that run at the same time have different `thread` indices, in
  /// [0, size()). Does not allocate. Rethrows the first exception of a task.
  template <class Task>
  void run(Index count, const Task& task) {
    std::unique_lock busy(busy_, std::defer_lock);
    if (count <= 1 || !has_threads() || !busy.try_lock()) {
      for (Index i = 0; i < count; ++i) call<Task>(&task, i, 0);
      return;
    }
    Job job{call<Task>, &task, count};
    {
      const std::lock_guard lock(mutex_);
      job_ = &job;
      ++generation_;
    }
    wake_.notify_all();
    job.run_tasks(0);
    {
      std::unique_lock lock(mutex_);
      job_ = nullptr;
      wait(lock, idle_, [&] { return active_ == 0; });
    }
    if (job.error) std::rethrow_exception(job.error);
  }

 private:
  /// False too in a child of the process that started the workers.
  bool has_threads() const noexcept { return !workers_.empty() && origin_.is_this_process(); }

  void stop() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_all();
    for (std::thread& t : workers_) t.join();
  }

  /// In a child process: joining a worker and destroying a condition that one waits for would never
  /// return. New objects replace them without a call of their destructors.
  void forget_threads() noexcept {
    for (std::thread& t : workers_) std::construct_at(&t);
    std::construct_at(&wake_);
    std::construct_at(&idle_);
  }

  template <class Task>
  static void call(const void* task, Index i, Index thread) {
    if constexpr (std::is_invocable_v<const Task&, Index, Index>)
      (*static_cast<const Task*>(task))(i, thread);
    else
      (*static_cast<const Task*>(task))(i);
  }

  struct Job {
    void (*call)(const void*, Index, Index);
    const void* task;
    Index count;
    std::atomic<Index> next{0};
    std::atomic<bool> failed{false};
    std::exception_ptr error{};

    /// Runs tasks on the thread of index `thread` until none is left.
    void run_tasks(Index thread) {
      for (Index i; (i = next.fetch_add(1, std::memory_order_relaxed)) < count;) {
        try {
          call(task, i, thread);
        } catch (...) {
          if (!failed.exchange(true)) error = std::current_exception();
          next.store(count);
        }
      }
    }
  };

  /// Waits until other threads make `condition` true: first spins without the lock, then sleeps.
  template <class Condition>
  static void wait(std::unique_lock<std::mutex>& lock, std::condition_variable& changed,
                   const Condition& condition) {
    constexpr int kSpins = 1000;
    if (condition()) return;
    lock.unlock();
    for (int i = 0; i < kSpins && !condition(); ++i) pause();
    lock.lock();
    changed.wait(lock, condition);
  }

  /// Tells the processor that this thread spins.
  static void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb");
#endif
  }

  /// The loop of the worker of index `thread`.
  void work(Index thread) {
    std::uint64_t seen = 0;
    std::unique_lock lock(mutex_);
    for (;;) {
      wait(lock, wake_, [&] { return stopping_ || generation_ != seen; });
      if (stopping_) return;
      seen = generation_;
      Job* job = job_;
      if (job == nullptr) continue;  // the other threads have finished it
      ++active_;
      lock.unlock();
      job->run_tasks(thread);
      lock.lock();
      if (--active_ == 0) idle_.notify_one();
    }
  }

  const detail::ForkOrigin origin_;
  std::mutex busy_;   // held by the thread whose job runs
  std::mutex mutex_;  // guards writes to the members below; atomics may be read without it
  std::condition_variable wake_, idle_;
  Job* job_ = nullptr;
  std::atomic<std::uint64_t> generation_ = 0;
  std::atomic<Index> active_ = 0;
  std::atomic<bool> stopping_ = false;
  std::vector<std::thread> workers_;
};

}  // namespace pllava
