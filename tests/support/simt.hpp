// Runs CUDA kernels on the CPU, for tests. The threads of a block are fibers of one OS thread, and
// blocks run one after another. A thread runs until it waits, so memory needs no locks. Undefined
// behavior in CUDA is an error or a NaN here where it can be detected:
//
// - Dynamic shared memory is 0xFF bytes (NaN) before each block, and has a guard after its end.
// - A barrier that not all threads can reach throws std::logic_error.
// - cp.async overwrites its target with 0xFF at once, and copies only when the thread waits for it.
// - `order` reverses the order of threads, which exposes missing barriers.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <functional>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <math.h>
#include <ucontext.h>

#if defined(__SANITIZE_ADDRESS__)
#define SIMT_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SIMT_ASAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define SIMT_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SIMT_TSAN 1
#endif
#endif
#ifdef SIMT_ASAN
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef SIMT_TSAN
#include <sanitizer/tsan_interface.h>
#endif

// swapcontext() is portable, but sets the signal mask by a system call each time. The compiler's
// __builtin_longjmp makes no system call, and AddressSanitizer does not take it for an unwinding of
// the stack. ThreadSanitizer needs swapcontext().
#ifndef SIMT_TSAN
#define SIMT_JUMPS 1
#endif
#ifdef SIMT_ASAN
#define SIMT_SWITCH __attribute__((noinline, no_sanitize_address))
#else
#define SIMT_SWITCH __attribute__((noinline))
#endif

namespace simt {

struct Dim3 {
  unsigned x = 1, y = 1, z = 1;
};

constexpr unsigned kWarp = 32;

/// The order in which the threads of a block run.
enum class Order { ascending, descending };
inline thread_local Order order = Order::ascending;

}  // namespace simt

inline thread_local simt::Dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace simt {

// ---- 16-bit floats ------------------------------------------------------------------------------

inline std::uint32_t bits_of(float x) {
  std::uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}

inline float float_of(std::uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

inline float bf16_to_float(std::uint16_t x) {
  return float_of(static_cast<std::uint32_t>(x) << 16);
}

inline std::uint16_t float_to_bf16(float x) {
  const std::uint32_t bits = bits_of(x);
  if (x != x) return static_cast<std::uint16_t>((bits >> 16) | 0x40u);
  return static_cast<std::uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

inline float f16_to_float(std::uint16_t x) {
  const std::uint32_t sign = (x & 0x8000u) << 16, rest = x & 0x7fffu;
  if (rest >= 0x7c00u) return float_of(sign | 0x7f800000u | (rest << 13));
  if (rest >= 0x0400u) return float_of(sign | ((rest << 13) + (112u << 23)));
  const float magnitude = static_cast<float>(rest) * 0x1p-24f;
  return float_of(sign | bits_of(magnitude));
}

inline std::uint16_t float_to_f16(float x) {
  const std::uint32_t bits = bits_of(x), sign = (bits >> 16) & 0x8000u, rest = bits & 0x7fffffffu;
  std::uint32_t half;
  if (rest > 0x7f800000u) {
    half = 0x7e00u | ((rest >> 13) & 0x1ffu);
  } else if (rest >= 0x477ff000u) {  // rounds to 65536 or more
    half = 0x7c00u;
  } else if (rest >= 0x38800000u) {
    half = (rest - (112u << 23) + 0xfffu + ((rest >> 13) & 1u)) >> 13;
  } else {  // subnormal: one unit in the last place of 0.5f is 2^-24
    half = bits_of(float_of(rest) + 0.5f) - bits_of(0.5f);
  }
  return static_cast<std::uint16_t>(sign | half);
}

// ---- the executor -------------------------------------------------------------------------------

/// The arguments of the lanes in a warp operation; null for lanes that have ended.
using LaneArguments = std::array<void*, kWarp>;
static_assert(kWarp == 32, "the matrix operations distribute 8 rows and columns over 32 lanes");

class Executor {
 public:
  static Executor& of_this_thread() {
    static thread_local Executor executor;
    return executor;
  }

  Executor() = default;
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  void run(Dim3 grid, unsigned threads, std::size_t shared_bytes, void (*call)(void*), void* body) {
    if (running_) throw std::logic_error("simt: a kernel launches a kernel");
    if (threads == 0 || threads > 1024)
      throw std::logic_error("simt: " + std::to_string(threads) +
                             " threads in a block; expected 1 to 1024");
    running_ = true;
    call_ = call;
    body_ = body;
    gridDim = grid;
    blockDim = {threads, 1, 1};
    reserve(threads, shared_bytes);
    try {
      for (blockIdx.z = 0; blockIdx.z < grid.z; ++blockIdx.z)
        for (blockIdx.y = 0; blockIdx.y < grid.y; ++blockIdx.y)
          for (blockIdx.x = 0; blockIdx.x < grid.x; ++blockIdx.x) run_block(threads, shared_bytes);
    } catch (...) {
      for (auto& t : threads_)
        if (t->state != State::ended) t = std::make_unique<Thread>();
      running_ = false;
      throw;
    }
    running_ = false;
  }

  unsigned char* dynamic_shared() { return shared_; }

  /// A barrier of the live threads of the block.
  void meet_block() {
    Thread& me = *threads_[threadIdx.x];
    if (++block_waiting_ == block_live_) {
      release_block(&me);
    } else {
      me.state = State::at_block;
      suspend(me);
    }
    asm volatile("" ::: "memory");
  }

  /// A barrier of the live lanes of the warp. The last one calls `act` with the arguments of all.
  void meet_warp(void (*act)(LaneArguments&), void* argument) {
    Thread& me = *threads_[threadIdx.x];
    Warp& warp = warps_[threadIdx.x / kWarp];
    if (warp.waiting > 0 && warp.act != act)
      throw std::logic_error("simt: lanes of a warp execute different operations" + place());
    warp.act = act;
    warp.arguments[threadIdx.x % kWarp] = argument;
    if (++warp.waiting == warp.live) {
      release_warp(warp, &me);
    } else {
      me.state = State::at_warp;
      suspend(me);
    }
    asm volatile("" ::: "memory");
  }

  /// Like cp.async: copies `bytes` bytes, or zeros if `from` is null, when the thread waits.
  void copy_later(void* to, const void* from, std::size_t bytes) {
    const auto address = reinterpret_cast<std::uintptr_t>(to);
    if (address % bytes != 0 || reinterpret_cast<std::uintptr_t>(from) % bytes != 0)
      throw std::logic_error("simt: unaligned asynchronous copy" + place());
    std::memset(to, 0xff, bytes);
    threads_[threadIdx.x]->copies.push_back({to, from, bytes});
  }
  void commit_copies() {
    Thread& me = *threads_[threadIdx.x];
    me.groups.push_back(me.copies.size());
  }
  /// Completes all groups of copies except the last `pending`.
  void wait_copies(std::size_t pending) {
    Thread& me = *threads_[threadIdx.x];
    if (me.groups.size() <= pending) return;
    const std::size_t end = me.groups[me.groups.size() - 1 - pending];
    for (; me.copied < end; ++me.copied) {
      const Copy& c = me.copies[me.copied];
      if (c.from != nullptr) {
        std::memcpy(c.to, c.from, c.bytes);
      } else {
        std::memset(c.to, 0, c.bytes);
      }
    }
    if (pending == 0 && end == me.copies.size()) me.forget_copies();
  }

 private:
#if defined(SIMT_ASAN) || defined(SIMT_TSAN)
  static constexpr std::size_t kStack = 256 * 1024;
#else
  static constexpr std::size_t kStack = 64 * 1024;
#endif
  static constexpr std::size_t kGuard = 1024;
  static constexpr unsigned char kGuardByte = 0xa5;

  enum class State { ended, ready, at_warp, at_block };

  struct Copy {
    void* to;
    const void* from;
    std::size_t bytes;
  };

  struct Thread {
    std::unique_ptr<std::byte[]> stack;
    ucontext_t context;
#ifdef SIMT_JUMPS
    void* jump[5];
#endif
    void* fake_stack = nullptr;
    void* tsan = nullptr;
    bool started = false;
    State state = State::ended;
    std::vector<Copy> copies;
    std::vector<std::size_t> groups;  // end of each committed group in `copies`
    std::size_t copied = 0;

    Thread() = default;
    Thread(const Thread&) = delete;
    Thread& operator=(const Thread&) = delete;
    ~Thread() {
#ifdef SIMT_TSAN
      if (tsan != nullptr) __tsan_destroy_fiber(tsan);
#endif
    }
    void forget_copies() {
      copies.clear();
      groups.clear();
      copied = 0;
    }
  };

  struct Warp {
    unsigned live = 0, waiting = 0;
    void (*act)(LaneArguments&) = nullptr;
    LaneArguments arguments = {};
  };

  static std::string place() {
    return ", thread " + std::to_string(threadIdx.x) + " of block (" + std::to_string(blockIdx.x) +
           ", " + std::to_string(blockIdx.y) + ", " + std::to_string(blockIdx.z) + ")";
  }

  void reserve(unsigned threads, std::size_t shared_bytes) {
    while (threads_.size() < threads) threads_.push_back(std::make_unique<Thread>());
    warps_.assign((threads + kWarp - 1) / kWarp, Warp{});
    if (memory_.size() < shared_bytes + kGuard + 1024) memory_.resize(shared_bytes + kGuard + 1024);
    const auto address = reinterpret_cast<std::uintptr_t>(memory_.data());
    shared_ = memory_.data() + (1024 - address % 1024) % 1024;
  }

  void run_block(unsigned threads, std::size_t shared_bytes) {
    std::memset(shared_, 0xff, shared_bytes);
    std::memset(shared_ + shared_bytes, kGuardByte, kGuard);
    block_live_ = threads;
    block_waiting_ = 0;
    for (unsigned w = 0; w < warps_.size(); ++w)
      warps_[w].live = threads - w * kWarp < kWarp ? threads - w * kWarp : kWarp;
    for (unsigned i = 0; i < threads; ++i) {
      threads_[i]->state = State::ready;
      threads_[i]->forget_copies();
    }
    ready_.clear();
    make_ready(0, threads, State::ready, nullptr);
    while (!ready_.empty()) {
      threadIdx.x = ready_.back();
      ready_.pop_back();
      Thread& t = *threads_[threadIdx.x];
      resume(t);
      if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
      if (t.state == State::ended) leave(warps_[threadIdx.x / kWarp]);
    }
    if (block_live_ > 0) throw_deadlock(threads);
    for (std::size_t i = 0; i < kGuard; ++i)
      if (shared_[shared_bytes + i] != kGuardByte)
        throw std::logic_error("simt: write " + std::to_string(i) + " bytes after the " +
                               std::to_string(shared_bytes) + " bytes of shared memory" + place());
  }

  [[noreturn]] void throw_deadlock(unsigned threads) const {
    unsigned at_warp = 0;
    for (unsigned i = 0; i < threads; ++i) at_warp += threads_[i]->state == State::at_warp;
    throw std::logic_error("simt: deadlock, " + std::to_string(block_waiting_) +
                           " threads wait for the block and " + std::to_string(at_warp) +
                           " for their warps" + place());
  }

  /// Called when a thread ends; releases barriers that all other live threads have reached.
  void leave(Warp& warp) {
    --warp.live;
    --block_live_;
    if (warp.waiting > 0 && warp.waiting == warp.live) release_warp(warp, nullptr);
    if (block_waiting_ > 0 && block_waiting_ == block_live_) release_block(nullptr);
  }

  void release_warp(Warp& warp, const Thread* current) {
    warp.act(warp.arguments);
    warp.arguments = {};
    warp.waiting = 0;
    const auto first = static_cast<unsigned>(&warp - warps_.data()) * kWarp;
    make_ready(first, first + kWarp < blockDim.x ? first + kWarp : blockDim.x, State::at_warp,
               current);
  }

  void release_block(const Thread* current) {
    block_waiting_ = 0;
    make_ready(0, blockDim.x, State::at_block, current);
  }

  /// Makes the threads in state `from` ready, except `current`. The last of ready_ runs first.
  void make_ready(unsigned begin, unsigned end, State from, const Thread* current) {
    for (unsigned n = 0; n < end - begin; ++n) {
      const unsigned i = order == Order::ascending ? end - 1 - n : begin + n;
      Thread& t = *threads_[i];
      if (t.state != from || &t == current) continue;
      t.state = State::ready;
      ready_.push_back(i);
    }
  }

  // Switches between the stacks of the scheduler and a thread.

  SIMT_SWITCH void resume(Thread& t) {
    const bool first = !std::exchange(t.started, true);
    if (first) {
      t.stack.reset(new std::byte[kStack]);
      getcontext(&t.context);
      t.context.uc_stack.ss_sp = t.stack.get();
      t.context.uc_stack.ss_size = kStack;
      t.context.uc_link = nullptr;
      makecontext(&t.context, &Executor::enter, 0);
    }
#ifdef SIMT_ASAN
    __sanitizer_start_switch_fiber(&home_fake_stack_, t.stack.get(), kStack);
#endif
#ifdef SIMT_JUMPS
    if (__builtin_setjmp(home_jump_) == 0) {
      if (first) setcontext(&t.context);
      jump(t.jump);
    }
#else
    if (first) t.tsan = __tsan_create_fiber(0);
    home_tsan_ = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(t.tsan, 0);
    swapcontext(&home_, &t.context);
#endif
#ifdef SIMT_ASAN
    __sanitizer_finish_switch_fiber(home_fake_stack_, nullptr, nullptr);
#endif
  }

  SIMT_SWITCH void suspend(Thread& t) {
#ifdef SIMT_ASAN
    __sanitizer_start_switch_fiber(&t.fake_stack, home_bottom_, home_size_);
#endif
#ifdef SIMT_JUMPS
    if (__builtin_setjmp(t.jump) == 0) jump(home_jump_);
#else
    __tsan_switch_to_fiber(home_tsan_, 0);
    swapcontext(&t.context, &home_);
#endif
#ifdef SIMT_ASAN
    __sanitizer_finish_switch_fiber(t.fake_stack, &home_bottom_, &home_size_);
#endif
  }

#ifdef SIMT_JUMPS
  [[noreturn]] SIMT_SWITCH static void jump(void** to) {
    __builtin_longjmp(to, 1);
  }
#endif

  /// The entry function of a fiber, which runs one kernel after another.
  static void enter() {
    Executor& self = of_this_thread();
#ifdef SIMT_ASAN
    __sanitizer_finish_switch_fiber(nullptr, &self.home_bottom_, &self.home_size_);
#endif
    for (;;) {
      Thread& me = *self.threads_[threadIdx.x];
      try {
        self.call_(self.body_);
      } catch (...) {
        self.error_ = std::current_exception();
      }
      me.state = State::ended;
      self.suspend(me);
    }
  }

  std::vector<std::unique_ptr<Thread>> threads_;
  std::vector<Warp> warps_;
  std::vector<unsigned> ready_;
  std::vector<unsigned char> memory_;
  unsigned char* shared_ = nullptr;
  unsigned block_live_ = 0, block_waiting_ = 0;
  void (*call_)(void*) = nullptr;
  void* body_ = nullptr;
  std::exception_ptr error_;
  bool running_ = false;
#ifdef SIMT_JUMPS
  void* home_jump_[5];
#else
  ucontext_t home_;
#endif
#ifdef SIMT_ASAN
  void* home_fake_stack_ = nullptr;
  const void* home_bottom_ = nullptr;
  std::size_t home_size_ = 0;
#endif
#ifdef SIMT_TSAN
  void* home_tsan_ = nullptr;
#endif
};

/// Calls body() once for each thread of the grid.
template <class Body>
void run(Dim3 grid, unsigned threads, std::size_t shared_bytes, Body&& body) {
  using Plain = std::remove_reference_t<Body>;
  Executor::of_this_thread().run(
      grid, threads, shared_bytes, [](void* p) { (*static_cast<Plain*>(p))(); },
      const_cast<void*>(static_cast<const void*>(&body)));
}

/// If not null, launches are appended here and not run, as in CUDA stream capture.
inline thread_local std::vector<std::function<void()>>* recording = nullptr;

/// Copies `body` with the kernel's arguments, as CUDA does.
template <class Body>
void launch(Dim3 grid, unsigned threads, std::size_t shared_bytes, const Body& body) {
  if (recording == nullptr)
    run(grid, threads, shared_bytes, body);
  else
    recording->push_back([=] { run(grid, threads, shared_bytes, body); });
}

/// Dynamic shared memory of the block, aligned to 1024 bytes.
inline unsigned char* dynamic_shared() {
  return Executor::of_this_thread().dynamic_shared();
}

// ---- operations of a warp -----------------------------------------------------------------------

/// The value of lane `from`; 0xFF bytes (undefined in CUDA) if that lane has ended.
template <class T>
T shuffle(unsigned mask, T value, unsigned from) {
  struct Lane {
    T value, result;
    unsigned from;
  };
  if (mask != 0xffffffffu)
    throw std::logic_error("simt: a shuffle with a partial mask is not supported");
  Lane mine = {value, value, from % kWarp};
  Executor::of_this_thread().meet_warp(
      [](LaneArguments& arguments) {
        for (void* p : arguments) {
          if (p == nullptr) continue;
          Lane& lane = *static_cast<Lane*>(p);
          if (const void* other = arguments[lane.from]) {
            lane.result = static_cast<const Lane*>(other)->value;
          } else {
            std::memset(&lane.result, 0xff, sizeof lane.result);
          }
        }
      },
      &mine);
  return mine.result;
}

inline unsigned lane_id() {
  return threadIdx.x % kWarp;
}

[[noreturn]] inline void throw_ended_lane() {
  throw std::logic_error("simt: a lane of a matrix operation has ended");
}

/// d += a * b as mma.sync.aligned.m16n8k16.row.col with 16-bit values, converted by to_float().
template <float (*to_float)(std::uint16_t)>
void mma_16x8x16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  struct Lane {
    float* d;
    const std::uint32_t *a, *b;
  };
  Lane mine = {d, a, b};
  Executor::of_this_thread().meet_warp(
      [](LaneArguments& arguments) {
        const auto lower = [](std::uint32_t x) { return to_float(static_cast<std::uint16_t>(x)); };
        const auto upper = [](std::uint32_t x) {
          return to_float(static_cast<std::uint16_t>(x >> 16));
        };
        float left[16][16], right[16][8];
        for (unsigned i = 0; i < kWarp; ++i) {
          if (arguments[i] == nullptr) throw_ended_lane();
          const Lane& lane = *static_cast<const Lane*>(arguments[i]);
          const unsigned g = i / 4, t = i % 4 * 2;
          for (unsigned j = 0; j < 4; ++j) {
            float* at = &left[g + j % 2 * 8][t + j / 2 * 8];
            at[0] = lower(lane.a[j]);
            at[1] = upper(lane.a[j]);
          }
          for (unsigned j = 0; j < 2; ++j) {
            right[t + j * 8][g] = lower(lane.b[j]);
            right[t + j * 8 + 1][g] = upper(lane.b[j]);
          }
        }
        float sum[16][8] = {};
        for (unsigned m = 0; m < 16; ++m)
          for (unsigned k = 0; k < 16; ++k)
            for (unsigned n = 0; n < 8; ++n) sum[m][n] += left[m][k] * right[k][n];
        for (unsigned i = 0; i < kWarp; ++i) {
          const Lane& lane = *static_cast<const Lane*>(arguments[i]);
          const unsigned g = i / 4, t = i % 4 * 2;
          for (unsigned j = 0; j < 4; ++j) lane.d[j] += sum[g + j / 2 * 8][t + j % 2];
        }
      },
      &mine);
}

/// ldmatrix.x4: lane i passes the address of row i % 8 of matrix i / 8, 8 values of 16 bits.
template <bool transposed>
void load_matrices(std::uint32_t (&r)[4], const void* row) {
  struct Lane {
    std::uint32_t* r;
    const void* row;
  };
  if (reinterpret_cast<std::uintptr_t>(row) % 16 != 0)
    throw std::logic_error("simt: unaligned row of a matrix");
  Lane mine = {r, row};
  Executor::of_this_thread().meet_warp(
      [](LaneArguments& arguments) {
        std::uint16_t rows[kWarp][8];
        for (unsigned i = 0; i < kWarp; ++i) {
          if (arguments[i] == nullptr) throw_ended_lane();
          std::memcpy(rows[i], static_cast<const Lane*>(arguments[i])->row, sizeof rows[i]);
        }
        for (unsigned i = 0; i < kWarp; ++i)
          for (unsigned j = 0; j < 4; ++j) {
            const unsigned g = i / 4, t = i % 4 * 2;
            const std::uint32_t low = transposed ? rows[j * 8 + t][g] : rows[j * 8 + g][t];
            const std::uint32_t high = transposed ? rows[j * 8 + t + 1][g] : rows[j * 8 + g][t + 1];
            static_cast<const Lane*>(arguments[i])->r[j] = low | high << 16;
          }
      },
      &mine);
}

}  // namespace simt

// ---- CUDA built-ins -----------------------------------------------------------------------------

inline void __syncthreads() {
  simt::Executor::of_this_thread().meet_block();
}

inline void __syncwarp(unsigned mask = 0xffffffffu) {
  if (mask != 0xffffffffu)
    throw std::logic_error("simt: a barrier with a partial mask is not supported");
  simt::Executor::of_this_thread().meet_warp([](simt::LaneArguments&) {}, &mask);
}

template <class T>
T __shfl_sync(unsigned mask, T value, int from, int width = 32) {
  const unsigned lane = simt::lane_id(), span = static_cast<unsigned>(width);
  return simt::shuffle(mask, value, lane / span * span + static_cast<unsigned>(from) % span);
}

template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32) {
  const unsigned lane = simt::lane_id(), span = static_cast<unsigned>(width);
  const unsigned from = lane ^ static_cast<unsigned>(lanes);
  return simt::shuffle(mask, value, from < (lane / span + 1) * span ? from : lane);
}

template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned by, int width = 32) {
  const unsigned lane = simt::lane_id(), span = static_cast<unsigned>(width);
  return simt::shuffle(mask, value, lane % span + by < span ? lane + by : lane);
}

template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned by, int width = 32) {
  const unsigned lane = simt::lane_id(), span = static_cast<unsigned>(width);
  return simt::shuffle(mask, value, lane % span >= by ? lane - by : lane);
}

inline void __threadfence() {}  // all threads run on one OS thread

template <class T>
T atomicAdd(T* at, T by) {
  const T old = *at;
  *at = old + by;
  return old;
}

template <class T>
constexpr T min(T a, T b) {
  return b < a ? b : a;
}
template <class T>
constexpr T max(T a, T b) {
  return a < b ? b : a;
}

inline float rsqrtf(float x) {
  return 1.0f / sqrtf(x);
}
