// The CPU backend: packed weights, a thread pool, kernels for the instruction set found at run
// time.
//
// f32: everything in f32. bf16: weights, keys, values and the inputs of matrix products in bf16,
// accumulation, softmax, norms and the residual stream in f32.
// Matrices of int8 and int4 (see core/quantization.hpp) are multiplied with rows that are rounded
// to 8 bits, each by its largest value; the sums are exact, so that the same rows and weights give
// the same result whatever else is computed beside them.
// Results do not depend on the number of threads: no sum is split between them.
#pragma once

#include <memory>
#include <optional>
#include <span>

#include "pllava/core/backend.hpp"
#include "pllava/core/stack_arena.hpp"
#include "pllava/core/thread_pool.hpp"
#include "pllava/cpu/arena.hpp"
#include "pllava/cpu/detail/execution_context.hpp"
#include "pllava/cpu/kernels.hpp"
#include "pllava/cpu/packed_weights.hpp"
#include "pllava/media/preprocess.hpp"

namespace pllava::cpu {

struct BackendOptions {
  /// f32 or bf16. Empty: what Pipeline::load finds in the checkpoint; f32 everywhere else.
  std::optional<DType> dtype = {};
  Index threads = 0;       ///< 0: one for each processor the process may use
  Isa isa = detect_isa();  ///< may be forced down
  /// Keep keys and values in 8 bits, each row of a head with a scale: half the memory of bf16, for
  /// an error of about 0.5 % in each.
  bool int8_kv = false;
  /// Weights that were packed before, or a file for those that are packed now; see
  /// pllava::packed_weights. Null: neither.
  std::shared_ptr<PackedWeights> packed = {};
};

/// A prepared weight; copies share the memory.
struct Weight {
  DType dtype = DType::f32;
  Index rows = 0;  ///< N, for `linear` before padding to whole panels
  Index cols = 0;  ///< K
  std::shared_ptr<const void> data;
  Quantization quantization = {};
  std::shared_ptr<const std::byte> factors = {};  ///< of integers, see Backend::integer_panel
  explicit operator bool() const noexcept { return data != nullptr; }
  const float* floats() const noexcept { return static_cast<const float*>(data.get()); }
};

/// Keys and values of one layer, per kv head, laid out as the panels of a matrix product:
/// keys [head][position/32][dim][32], values [head][dim/32][position][32], pairs along dim and
/// along position in bf16. In 8 bits the layout is that of the type of the computation, and each
/// position of a head has a scale for its key and one for its value, (head, 2, position).
struct KvLayer {
  Index capacity = 0;  ///< positions, a multiple of 32
  std::shared_ptr<void> keys, values;
  std::shared_ptr<void> scales = {};  ///< f32, where keys and values have 8 bits
};

/// Threads: belongs to one thread at a time. `fork` makes another for a second thread, over the
/// same pool.
class Backend {
 public:
  using Weight = cpu::Weight;
  using KvLayer = cpu::KvLayer;
  using Linear = pllava::Linear<Weight>;
  using Norm = pllava::Norm<Weight>;
  using Attention = pllava::Attention<Weight, KvLayer>;

  /// Throws ArgumentError for another dtype than f32 and bf16.
  explicit Backend(const BackendOptions& options = {});
  Backend fork() const;

  const BackendOptions& options() const noexcept { return options_; }
  const char* isa_name() const noexcept { return kernels_->name; }
  ThreadPool& pool() noexcept { return *pool_; }
  DType activation_dtype() const noexcept { return dtype_; }

  std::shared_ptr<void> allocate(Index bytes) { return aligned_memory(bytes, "a tensor"); }
  StackArena::Scope scope() { return StackArena::Scope(*arena_); }
  View scratch(const Shape& shape, DType dtype) {
    return {arena_->allocate(shape.count() * size_of(dtype)), dtype, shape};
  }
  void upload(View dst, const void* src) { copy(dst.data, src, dst.bytes()); }
  void download(void* dst, ConstView src) { copy(dst, src.data, src.bytes()); }
  void copy(View dst, ConstView src) { copy(dst.data, src.data, src.bytes()); }

  Weight prepare(std::span<const HostTensor> parts, WeightRole role);
  KvLayer make_kv(const Heads& heads, Index capacity);

  void linear(View y, ConstView x, const Linear& w, Activation act);
  void residual(View x, ConstView y, const Linear& w);
  void glu(View g, ConstView h, const Linear& gate_up, Activation act);
  void norm(View y, ConstView x, const Norm& n);
  void attend(View o, ConstView qkv, const Attention& attention);
  void embed(View x, ConstView ids, const Weight& table);
  void preprocess(View pixels, std::span<const Frame> frames, const PreprocessConfig& config);
  void patchify(View y, ConstView pixels, Index patch);
  void add_positions(View x, ConstView patches, const Weight& cls, const Weight& positions,
                     Index per_frame);
  void select_patches(View y, ConstView x, Index per_frame);
  void pool3d(View y, ConstView x, const Grid& in, const Grid& out, PoolKind kind);

 private:
  struct Packed;   // the left operand of a product, in tiles
  struct Rounded;  // the same in 8-bit integers

  Backend(const BackendOptions& options, std::shared_ptr<ThreadPool> pool);
  detail::ExecutionContext context() const { return {*kernels_, *pool_, *arena_}; }
  static void copy(void* dst, const void* src, Index bytes);
  void read_row(float* dst, ConstView x, Index row) const;
  void write_row(View y, Index row, const float* src) const;
  Packed pack(ConstView x, DType dtype);
  Rounded round(ConstView x, Index depth, Index most_rows, Index bytes);
  template <class Fill>
  std::shared_ptr<void> weight_memory(Index bytes, const char* what_for, const Fill& fill);
  template <class Locate>
  Weight prepare_integers(Weight w, Index panels, const Locate& locate);
  static QuantizedPanel integer_panel(const Weight& w, Index panels, Index panel);
  template <class Epilogue>
  void multiply(ConstView x, const Weight& w, const Epilogue& epilogue);
  template <class Epilogue>
  void multiply_integers(ConstView x, const Weight& w, const Epilogue& epilogue);

  BackendOptions options_;
  DType dtype_;
  const Kernels* kernels_;
  std::shared_ptr<ThreadPool> pool_;
  std::unique_ptr<StackArena> arena_ = make_arena();
};

}  // namespace pllava::cpu

#ifndef PLLAVA_COMPILED
#include "pllava/cpu/detail/attention_inl.hpp"
#include "pllava/cpu/detail/backend_inl.hpp"
#endif
