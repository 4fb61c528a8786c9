// The interface between the backend and CUDA: memory, transfers, GEMM and graphs on one stream of a
// GPU. device.cpp implements it with CUDA, tests/support/host_device.cpp on the host for tests.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <string>

#include "kernels/launch.hpp"
#include "pllava/core/dtype.hpp"
#include "pllava/error.hpp"

namespace pllava::cuda {

/// y = x * W^T + bias, or y += x * W^T + bias with `accumulate`.
///
/// x (rows, in), w (out, in) of one type, y (rows, out). With scales, x and w are dense e4m3
/// matrices whatever their Operand::type is, and `in` and `out` are multiples of 16.
struct Gemm {
  kernels::Operand y, x, w;
  const void* bias = nullptr;       // (out) in the type of y, with scales in bf16; or null
  const float* x_scales = nullptr;  // (rows); or null
  const float* w_scales = nullptr;  // (out); or null
  Index rows = 0, out = 0, in = 0;
  Index y_stride = 0;  // elements from a row of y to the next
  bool accumulate = false;
  bool batch_invariant = false;  // the order of summation does not depend on the number of rows
};

/// Recorded work of a stream.
using Graph = std::shared_ptr<void>;

inline OutOfMemoryError out_of_memory(const char* purpose, Index bytes, std::uint64_t free,
                                      std::uint64_t total) {
  return {std::string(purpose) + " on the GPU, where " + std::to_string(free) + " of " +
              std::to_string(total) + " bytes are free,",
          static_cast<std::uint64_t>(bytes)};
}

/// Threads: used by one thread at a time, which need not be the thread that constructed it.
class Device {
 public:
  /// Throws cuda::Error.
  explicit Device(int ordinal);
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;
  ~Device();  // waits for the stream

  /// Makes a device the current one of the calling thread, and restores the previous one at the
  /// end. Callers of copy(), copy_rows(), gemm() and kernel launches need one; the other functions
  /// of this class set the device themselves.
  class Current {
   public:
    explicit Current(int ordinal);
    Current(const Current&) = delete;
    Current& operator=(const Current&) = delete;
    ~Current();

   private:
    int previous_ = 0;
  };

  int ordinal() const noexcept { return ordinal_; }
  kernels::Stream stream() const noexcept { return stream_; }

  /// Allocates in stream order. Throws OutOfMemoryError.
  void* allocate(Index bytes, const char* purpose);
  void release(void* memory) noexcept;

  /// Writes the bytes [begin, begin + size) of the data to `to`, in host memory.
  using Fill = std::function<void(std::byte* to, Index begin, Index size)>;
  /// Uploads in chunks that start at multiples of 256 bytes. A chunk is transferred while the next
  /// is filled. Returns when all chunks are filled.
  void to_device(void* dst, Index bytes, const Fill& fill);
  /// Returns when `src` may be overwritten.
  void to_device(void* dst, const void* src, Index bytes) {
    to_device(dst, bytes, [src](std::byte* to, Index begin, Index size) {
      std::memcpy(to, static_cast<const std::byte*>(src) + begin, static_cast<std::size_t>(size));
    });
  }
  /// Returns when `dst` is filled.
  void to_host(void* dst, const void* src, Index bytes);
  void copy(void* dst, const void* src, Index bytes);
  /// Copies `rows` rows of `row_bytes` bytes, `stride` bytes apart in src and dense in dst.
  void copy_rows(void* dst, const void* src, Index stride, Index row_bytes, Index rows);
  void synchronize();

  /// Work enqueued on `waiting` from now on waits for the work enqueued on `signaling` so far.
  void wait_for(kernels::Stream waiting, kernels::Stream signaling);
  /// The device that `memory` belongs to (this device for managed memory); -1 for host memory.
  int device_of(const void* memory) const;

  void gemm(const Gemm& call);
  /// Whether gemm() supports scales.
  bool supports_fp8_gemm() const noexcept { return supports_fp8_gemm_; }

  /// Runs `body` and records its work instead of executing it.
  Graph record(const std::function<void()>& body);
  void replay(const Graph& graph);

  /// Throws cuda::Error if `status`, a cudaError_t, is not 0.
  static void check(int status, const char* call);

 private:
  struct Resources;

  int ordinal_;
  bool supports_fp8_gemm_ = false;
  kernels::Stream stream_ = nullptr;
  std::unique_ptr<Resources> resources_;
};

}  // namespace pllava::cuda
