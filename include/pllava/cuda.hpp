// The CUDA backend: the same models on an NVIDIA GPU. This header needs no CUDA header.
//
// None of it has ever run on a GPU: see docs/architecture.md for how it is tested without one.
//
// bf16, f16: weights, keys, values and the inputs of matrix products in that type, accumulation,
// softmax, norms and the residual stream in f32. f32: everything in f32, without TF32.
// Matrices of int8, int4 and fp8 (see core/quantization.hpp) are multiplied as the numbers that
// they stand for; unlike on the CPU, rows of activations are not rounded. But for many rows and
// fp8, on GPUs of compute capability 9.0 that compute in bf16: there they are rounded to e4m3, too.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "pllava/core/backend.hpp"
#include "pllava/media/preprocess.hpp"
#include "pllava/text/sampling.hpp"

namespace pllava::cuda {

/// A call of CUDA, or of one of its libraries, that failed. The message names it. After an
/// asynchronous fault (an illegal address, say) every later call on the device fails, too.
class Error : public pllava::Error {
 public:
  Error(const std::string& call, const std::string& reason)
      : pllava::Error(call + " failed: " + reason), call_(call) {}
  const std::string& call() const noexcept { return call_; }

 private:
  std::string call_;
};

struct BackendOptions {
  DType dtype = DType::bf16;  ///< bf16, f16 or f32
  int device = 0;             ///< as CUDA numbers them
  bool graphs = true;         ///< record a decode step once and replay it
  bool int8_kv = false;       ///< keep keys and values in 8 bits, a scale for each row of a head
  /// A row's results depend neither on the run nor on the rows that are computed beside it: however
  /// a prompt is split, the same logits to the bit. Few rows then take the kernels of many, whose
  /// products have one algorithm for all numbers of rows; decoding is slower for it.
  bool deterministic = false;
};

// ---- frames in a GPU's memory -------------------------------------------------------------------

/// How 8-bit pixels lie in device memory: interleaved channels in the order of the name, or NV12,
/// as decoders write it: a plane of luma Y (H, W), and one of pairs (Cb, Cr) of half the height and
/// width.
enum class DeviceFormat : std::uint8_t { rgb, bgr, rgba, bgra, nv12 };

/// What Y, Cb and Cr mean: the coefficients of BT.601 or BT.709, and whether Y spans 16 to 235 and
/// Cb and Cr 16 to 240 (limited range) or all three 0 to 255 (full range).
///
/// Colours are computed in integers. The pixel (x, y) takes the pair (x / 2, y / 2). With
/// u = Cb - 128, v = Cr - 128, and c a multiple of y' = Y - 16 (limited) or Y (full),
///
///   R = clip((c + r·v + 2^15) >> 16)
///   G = clip((c - gu·u - gv·v + 2^15) >> 16)
///   B = clip((c + b·u + 2^15) >> 16)
///
/// where >> rounds down, clip goes to 0 and 255, and the factors are the standard's times 2^16, to
/// the nearest:
///
///                  c         r       gu      gv      b
///   bt601_limited  76309·y'  104597  25675   53279   132201
///   bt601_full     65536·y'  91881   22553   46802   116130
///   bt709_limited  76309·y'  117489  13975   34925   138438
///   bt709_full     65536·y'  103206  12276   30679   121609
enum class YuvEncoding : std::uint8_t { bt601_limited, bt601_full, bt709_limited, bt709_full };

/// Pixels that work on `stream` writes to a GPU's memory.
struct DevicePixels {
  const void* data = nullptr;  ///< in device memory: interleaved pixels, or the luma of NV12
  Index stride = 0;            ///< bytes from one row to the next; 0: densely packed
  DeviceFormat format = DeviceFormat::rgb;
  const void* chroma = nullptr;  ///< NV12: the plane of pairs, in device memory
  Index chroma_stride = 0;       ///< its rows; 0: densely packed
  YuvEncoding encoding = YuvEncoding::bt709_limited;  ///< of NV12
  void* stream = nullptr;  ///< a cudaStream_t; null is CUDA's legacy default stream
};

/// A frame over pixels in a GPU's memory, for a Clip or Backend::preprocess. No pixel passes
/// through the host. Throws MediaError: a null pointer, a side below 1, an odd side of NV12, a
/// stride shorter than a row; and Backend::preprocess for memory that is not its device's.
///
/// Ownership: the memory stays the caller's, unless `owner` keeps it alive. Copies of the frame
/// share both.
///
/// Synchronisation, without the host's waiting: a call that reads the frame, Backend::preprocess or
/// Pipeline::watch, reads it behind all work that `stream` was given before the call, and work that
/// `stream` is given after the call waits until it is read. So once the call has returned, the
/// producer may have `stream` overwrite the memory, or free it in its order (cudaFreeAsync); anyone
/// else waits for `stream` first. The same holds when the call throws.
Frame borrow(const DevicePixels& pixels, Index width, Index height,
             std::shared_ptr<const void> owner = {});

// ---- the backend --------------------------------------------------------------------------------

class Device;   // a stream of a GPU, see cuda/device.hpp
class Scratch;  // device memory for intermediate results

/// A weight in device memory; copies share it.
struct Weight {
  DType dtype = DType::f32;
  Index rows = 0, cols = 0;
  std::shared_ptr<void> data;
  std::shared_ptr<void> narrow;  ///< of a vector: the same in the backend's 16-bit type
  Quantization quantization = {};
  std::shared_ptr<void> factors;  ///< of rounded numbers: scales, multipliers, zeros
  explicit operator bool() const noexcept { return data != nullptr; }
};

/// Keys and values of one layer: (kv heads, capacity, dim) each, in the backend's type or in 8
/// bits.
struct KvLayer {
  Index capacity = 0;
  std::shared_ptr<void> keys, values;
  std::shared_ptr<void> scales;  ///< of 8 bits: (2, kv heads, capacity) f32, of keys and of values
};

/// Threads: belongs to one thread at a time. `fork` makes another with a stream of its own for a
/// second thread, over the same device and weights.
///
/// Verbs enqueue work and return; `download`, and `sample`, wait for what they read. Products of
/// many rows are cuBLASLt's, whose order of summation may change with the number of rows unless
/// BackendOptions::deterministic is set.
class Backend {
 public:
  using Weight = cuda::Weight;
  using KvLayer = cuda::KvLayer;
  using Linear = pllava::Linear<Weight>;
  using Norm = pllava::Norm<Weight>;
  using Attention = pllava::Attention<Weight, KvLayer>;

  static constexpr Index kMaxBatchRows = 16'384;  // many rows fill the device; scratch below 2 GiB

  /// Throws cuda::Error where there is no driver, no such device or one below compute
  /// capability 8.0, ArgumentError for another dtype than f32, f16 and bf16. On a newer device that
  /// the kernels were not built for, the first verb throws cuda::Error.
  explicit Backend(const BackendOptions& options = {});
  Backend(Backend&&) noexcept;
  Backend& operator=(Backend&&) noexcept;
  ~Backend();
  Backend fork() const;

  const BackendOptions& options() const noexcept { return options_; }
  DType activation_dtype() const noexcept { return options_.dtype; }
  /// Waits for everything enqueued. Throws cuda::Error with what went wrong on the device.
  void synchronize();

  std::shared_ptr<void> allocate(Index bytes);
  void upload(View dst, const void* src);
  void download(void* dst, ConstView src);
  void copy(View dst, ConstView src);

  /// Gives the scratch back that was asked for since its construction.
  class Scope {
   public:
    explicit Scope(Scratch& scratch);
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Scratch& scratch_;
    std::size_t block_;
    Index used_;
  };
  Scope scope() { return Scope(*scratch_); }
  View scratch(const Shape& shape, DType dtype);

  Weight prepare(std::span<const HostTensor> parts, WeightRole role);
  KvLayer make_kv(const Heads& heads, Index capacity);

  void linear(View y, ConstView x, const Linear& w, Activation act);
  void residual(View x, ConstView y, const Linear& w);
  void residual_norm(View x, View h, ConstView y, const Linear& w, const Norm& next);
  void glu(View g, ConstView h, const Linear& gate_up, Activation act);
  void norm(View y, ConstView x, const Norm& n);
  void attend(View o, ConstView qkv, const Attention& attention);
  void embed(View x, ConstView ids, const Weight& table);
  /// Frames in host memory and in the device's, in any order.
  void preprocess(View pixels, std::span<const Frame> frames, const PreprocessConfig& config);
  void patchify(View y, ConstView pixels, Index patch);
  void add_positions(View x, ConstView patches, const Weight& cls, const Weight& positions,
                     Index per_frame);
  void select_patches(View y, ConstView x, Index per_frame);
  void pool3d(View y, ConstView x, const Grid& in, const Grid& out, PoolKind kind);
  /// Chosen on the device, as the host's sampler would but for the rounding of sums.
  std::int32_t sample(View id, View logits, Sampler& sampler);

  template <class Body>
  void step(const Sequence&, Body&& body) {
    run_step(std::forward<Body>(body));
  }

  /// Steps that were recorded, and steps that replayed a record, since construction.
  Index recorded_steps() const noexcept { return recorded_; }
  Index replayed_steps() const noexcept { return replayed_; }

 private:
  struct Graphs;  // recorded steps

  Backend(const BackendOptions& options, std::shared_ptr<Device> device);
  void run_step(const std::function<void()>& body);
  template <class... Values>
  void note(const char* verb, const Values&... values);
  template <class Launch>
  void enqueue(const char* kernel, const Launch& launch);
  ConstView converted(ConstView x, DType dtype);
  bool is_few(Index rows, Index in) const noexcept;
  bool takes_fp8(const Linear& w) const noexcept;
  void multiply(View y, ConstView x, const Linear& w, bool add, Activation act);
  void multiply_fp8(View y, ConstView x, const Linear& w, bool add, Activation act);
  void activate(View y, Activation act);

  BackendOptions options_;
  std::shared_ptr<Device> device_;
  std::unique_ptr<Scratch> scratch_;
  std::unique_ptr<Graphs> graphs_;
  std::shared_ptr<void> ended_;  // of a product that norms, how many blocks have; 0 between kernels
  bool rehearsing_ = false;      // verbs are noted, nothing is enqueued
  std::uint64_t noted_ = 0;      // what a rehearsed step would do
  Index recorded_ = 0, replayed_ = 0;
};

}  // namespace pllava::cuda
