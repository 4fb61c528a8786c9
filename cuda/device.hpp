// A stream of a GPU and what the backend asks of the CUDA libraries. device.cpp implements it;
// tests/support/host_device.cpp does so without a GPU, beside the executor of the kernels.
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

/// y = x·Wᵀ + b, or y += x·Wᵀ + b;  x (rows, in), w (out, in) of one type, y (rows, out) with
/// `stride` numbers from a row to the next. Where there are scales, x and w hold codes of e4m3,
/// dense whatever their type says, and `in` and `out` are multiples of 16.
struct Product {
  kernels::Operand y, x, w;
  const void* bias = nullptr;       // (out) in the type of y, with scales in bf16; or null
  const float* x_scales = nullptr;  // (rows)
  const float* w_scales = nullptr;  // (out)
  Index rows = 0, out = 0, in = 0, stride = 0;
  bool add = false;
  bool invariant = false;  // a row's sums do not depend on the number of rows
};

/// Work that was recorded from a stream.
using Graph = std::shared_ptr<void>;

/// Device memory that could not be had.
inline OutOfMemoryError out_of_memory(const char* what_for, Index bytes, std::uint64_t free,
                                      std::uint64_t total) {
  return {std::string(what_for) + " on the GPU, where " + std::to_string(free) + " of " +
              std::to_string(total) + " bytes are free,",
          static_cast<std::uint64_t>(bytes)};
}

/// Threads: belongs to one thread at a time, which need not be the one that made it.
class Device {
 public:
  /// Throws cuda::Error.
  explicit Device(int ordinal);
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;
  ~Device();  // waits for the stream

  /// Makes a device the calling thread's current one; in the end it is again what was before. What
  /// is launched needs it; the functions of this class that are not launched have one of their own.
  class Current {
   public:
    explicit Current(int ordinal);
    Current(const Current&) = delete;
    Current& operator=(const Current&) = delete;
    ~Current();

   private:
    int before_ = 0;
  };

  int ordinal() const noexcept { return ordinal_; }
  kernels::Stream stream() const noexcept { return stream_; }

  /// In the order of the stream. Throws OutOfMemoryError.
  void* allocate(Index bytes, const char* what_for);
  void release(void* memory) noexcept;

  /// Writes the bytes [begin, begin + size) of what goes to the device to `to`, in host memory.
  using Fill = std::function<void(std::byte* to, Index begin, Index size)>;
  /// Calls `fill` for piece after piece, which begin at multiples of 256 bytes; each is sent while
  /// the next is filled. Returns when all are filled.
  void to_device(void* dst, Index bytes, const Fill& fill);
  /// Returns when `src` may change.
  void to_device(void* dst, const void* src, Index bytes) {
    to_device(dst, bytes, [src](std::byte* to, Index begin, Index size) {
      std::memcpy(to, static_cast<const std::byte*>(src) + begin, static_cast<std::size_t>(size));
    });
  }
  /// Returns when `dst` is filled.
  void to_host(void* dst, const void* src, Index bytes);
  void copy(void* dst, const void* src, Index bytes);
  /// `rows` rows of `row` bytes, which begin `stride` bytes apart, behind one another.
  void copy_rows(void* dst, const void* src, Index stride, Index row, Index rows);
  void synchronize();

  /// What `second` is given from now on waits for what `first` was given until now.
  void order(kernels::Stream first, kernels::Stream second);
  /// The number of the device in whose memory `memory` lies, ours where devices share it; -1 for
  /// the host's.
  int location(const void* memory) const;

  void multiply(const Product& product);
  /// Whether products may have scales.
  bool multiplies_fp8() const noexcept { return multiplies_fp8_; }

  /// Runs `body`, whose work is recorded and not done. Null where the device cannot record.
  Graph record(const std::function<void()>& body);
  void replay(const Graph& graph);

  /// Throws cuda::Error where `status`, a cudaError_t, is not 0.
  static void check(int status, const char* call);

 private:
  struct Libraries;

  int ordinal_;
  bool multiplies_fp8_ = false;
  kernels::Stream stream_ = nullptr;
  std::unique_ptr<Libraries> libraries_;
};

}  // namespace pllava::cuda
