// The CUDA backend: the same models on an NVIDIA GPU. This header needs no CUDA header.
//
// It has not been run on a GPU yet: see docs/architecture.md for how it is tested without one.
//
// With bf16 and f16, weights, keys, values and the inputs of matrix products have that type;
// accumulation, softmax, norms and the residual stream are in f32. With f32 everything is in f32,
// without TF32.
//
// int8, int4 and fp8 weights (see core/quantization.hpp) are dequantized to the backend's type.
// Activations are rotated for int8 and int4, in f32, and rounded to the backend's type. They are
// not quantized, unlike on the CPU. The exception is fp8 in bf16 on GPUs of compute capability 9.0:
// where a GEMM is used (more rows than the GEMV kernels take, or the option `deterministic`),
// activations are quantized to e4m3 per row.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "pllava/core/backend.hpp"
#include "pllava/core/stack_arena.hpp"
#include "pllava/media/preprocess.hpp"
#include "pllava/media/raw_frames.hpp"
#include "pllava/text/sampling.hpp"

namespace pllava::cuda {

#pragma GCC visibility push(default)  // see error.hpp
/// A call of CUDA or of one of its libraries failed. The message names the call. After an
/// asynchronous error, such as an illegal address, every later call on the device fails too.
class Error : public pllava::Error {
 public:
  Error(const std::string& call, const std::string& reason)
      : pllava::Error(call + " failed: " + reason), call_(call) {}
  const std::string& call() const noexcept { return call_; }

 private:
  std::string call_;
};
#pragma GCC visibility pop

struct BackendOptions {
  DType dtype = DType::bf16;  ///< bf16, f16 or f32
  int device = 0;             ///< CUDA device ordinal
  bool graphs = true;         ///< record decode steps as CUDA graphs and replay them
  bool int8_kv = false;       ///< int8 KV cache, keys rotated, with a scale for each row of a head
  /// The results of a row depend neither on the run nor on the other rows of a call: the logits of
  /// a prompt are the same to the bit however it is split. Decode then uses the prefill kernels,
  /// and every GEMM of a layer uses one algorithm for all numbers of rows. Decoding is slower.
  bool deterministic = false;
};

// ---- frames in a GPU's memory -------------------------------------------------------------------

/// Layout of 8-bit pixels in device memory: interleaved channels in the order of the name, or NV12
/// as video decoders write it: a luma plane Y (H, W) and a chroma plane of (Cb, Cr) pairs of half
/// the height and width.
enum class DeviceFormat : std::uint8_t { rgb, bgr, rgba, bgra, nv12 };

using pllava::YuvEncoding;

/// An image in device memory, written by work on `stream`.
struct DevicePixels {
  const void* data = nullptr;  ///< in device memory: interleaved pixels, or the luma plane of NV12
  Index stride = 0;            ///< bytes from one row to the next; 0: densely packed
  DeviceFormat format = DeviceFormat::rgb;
  const void* chroma = nullptr;  ///< NV12: the chroma plane, in device memory
  Index chroma_stride = 0;       ///< bytes between chroma rows; 0: densely packed
  YuvEncoding encoding = YuvEncoding::bt709_limited;  ///< NV12 only
  void* stream = nullptr;  ///< a cudaStream_t; null is CUDA's legacy default stream
};

/// A frame that refers to pixels in device memory, for a Clip or Backend::preprocess. No pixel is
/// copied to the host. Throws MediaError for a null pointer, a side below 1, an odd side of NV12 or
/// a stride shorter than a row; Backend::preprocess throws it for memory of another device.
///
/// Ownership: the caller owns the memory, unless `owner` keeps it alive. Copies of the frame share
/// both.
///
/// Synchronization, without blocking the host: a call that reads the frame (Backend::preprocess or
/// Pipeline::watch) waits for the work enqueued on `stream` before the call, and work enqueued on
/// `stream` after the call waits until the frame has been read, also if the call throws. So once
/// the call has returned, `stream` may overwrite the memory or free it with cudaFreeAsync; other
/// streams have to wait for `stream`.
Frame borrow(const DevicePixels& pixels, Index width, Index height,
             std::shared_ptr<const void> owner = {});

// ---- the backend --------------------------------------------------------------------------------

class Device;  // a stream of a GPU, see cuda/device.hpp

/// A weight in device memory; copies share it.
struct Weight {
  DType dtype = DType::f32;
  Index rows = 0, cols = 0;
  std::shared_ptr<void> data;
  std::shared_ptr<void> half;  ///< of a vector: a copy in the backend's 16-bit type
  Quantization quantization = {};
  /// Of a quantized matrix: channel scales (f32), group scales (u8), zero points (u8).
  std::shared_ptr<void> scales;
  explicit operator bool() const noexcept { return data != nullptr; }
};

/// Keys and values of one layer: (num_kv_heads, capacity, head_dim) each, in the backend's type or
/// int8.
struct KvLayer {
  Index capacity = 0;
  std::shared_ptr<void> keys, values;
  std::shared_ptr<void> scales;  ///< int8: (2, num_kv_heads, capacity) f32, of keys, then values
};

/// Threads: used by one thread at a time. `fork` creates a backend for a second thread, with its
/// own stream over the same device and weights.
///
/// Verbs enqueue work and return; `download` and `sample` wait for their results. GEMM (more than 8
/// rows) is by cuBLASLt; its order of summation may change with the number of rows unless
/// BackendOptions::deterministic is set.
class Backend {
 public:
  using Weight = cuda::Weight;
  using KvLayer = cuda::KvLayer;
  using Linear = pllava::Linear<Weight>;
  using Norm = pllava::Norm<Weight>;
  using Attention = pllava::Attention<Weight, KvLayer>;

  static constexpr Index kMaxBatchRows = 16'384;  // fills the device; scratch stays below 2 GiB

  /// Throws cuda::Error if there is no driver or no such device, or if its compute capability is
  /// below 8.0; ArgumentError for a dtype other than f32, f16 and bf16. On a newer device for which
  /// the kernels were not built, the first verb throws cuda::Error.
  explicit Backend(const BackendOptions& options = {});
  Backend(Backend&&) noexcept;
  Backend& operator=(Backend&&) noexcept;
  ~Backend();
  Backend fork() const;

  const BackendOptions& options() const noexcept { return options_; }
  DType activation_dtype() const noexcept { return options_.dtype; }
  /// Waits for all enqueued work. Throws cuda::Error for an error on the device.
  void synchronize();

  std::shared_ptr<void> allocate(Index bytes);
  void upload(View dst, const void* src);
  void download(void* dst, ConstView src);
  void copy(View dst, ConstView src);

  /// Scratch memory that was allocated during the scope's lifetime is released with it. Equal
  /// sequences of verbs get equal addresses, so recorded steps stay valid.
  StackArena::Scope scope() { return StackArena::Scope(*scratch_); }
  View scratch(const Shape& shape, DType dtype);

  Weight prepare(std::span<const HostTensor> parts, WeightRole role);
  KvLayer make_kv(const Heads& heads, Index capacity);

  void linear(View y, ConstView x, const Linear& w, Activation act);
  void residual(View x, ConstView y, const Linear& w);
  void residual_norm(View x, View h, ConstView y, const Linear& w, const Norm& next);
  void glu(View g, ConstView h, const Linear& gate_up, Activation act);
  void norm(View y, ConstView x, const Norm& n);
  void attend(View o, ConstView qkv, const Attention& attention);
  void move_kv(KvLayer& kv, const Heads& heads, Index to, Index from, Index rows);
  void embed(View x, ConstView ids, const Weight& table);
  /// Frames may be in host and in device memory, in any order.
  void preprocess(View pixels, std::span<const Frame> frames, const PreprocessConfig& config);
  void patchify(View y, ConstView pixels, Index patch);
  void add_positions(View x, ConstView patches, const Weight& cls, const Weight& positions,
                     Index per_frame);
  void select_patches(View y, ConstView x, Index per_frame);
  void pool3d(View y, ConstView x, const Grid& in, const Grid& out, PoolKind kind);
  /// Samples on the device. Equals the host's Sampler up to the rounding of sums.
  std::int32_t sample(View id, View logits, Sampler& sampler);

  template <class Body>
  void step(const Sequence&, Body&& body) {
    run_step(std::forward<Body>(body));
  }

  /// Numbers of steps that were recorded and that were replayed, since construction.
  Index recorded_steps() const noexcept { return recorded_; }
  Index replayed_steps() const noexcept { return replayed_; }

 private:
  struct Graphs;  // recorded steps

  Backend(const BackendOptions& options, std::shared_ptr<Device> device);
  /// Replays the step if it has been recorded, else records it first.
  void run_step(const std::function<void()>& body);
  template <class... Operands>
  void add_to_step_key(const char* verb, const Operands&... operands);
  template <class Launch>
  void enqueue(const char* kernel, const Launch& launch);
  bool use_gemv(Index rows, Index in) const noexcept;
  bool use_fp8_gemm(const Linear& w) const noexcept;
  ConstView converted(ConstView x, DType dtype);
  ConstView rotated(ConstView x, const Weight& w);
  void activate(View y, Activation act);
  void apply_linear(View y, ConstView x, const Linear& w, bool accumulate, Activation act);
  void gemm(View y, ConstView x, const Linear& w, bool accumulate);
  void gemm_fp8(View y, ConstView x, const Linear& w, bool accumulate);

  BackendOptions options_;
  std::shared_ptr<Device> device_;
  std::unique_ptr<StackArena> scratch_;
  std::unique_ptr<Graphs> graphs_;
  std::shared_ptr<void> block_counter_;  // of kernels::gemv_norm()
  bool dry_run_ = false;                 // verbs add to step_key_ and enqueue nothing
  std::uint64_t step_key_ = 0;           // identifies the step of the last dry run
  Index recorded_ = 0, replayed_ = 0;
};

}  // namespace pllava::cuda
