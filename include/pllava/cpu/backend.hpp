// The CPU backend: packed weights, a thread pool, and the kernels of the best instruction set of
// the machine.
//
// f32: everything in f32. bf16: weights, keys, values and the inputs of matrix products in bf16;
// accumulation, softmax, norms and the residual stream in f32.
// int8 and int4 matrices (see core/quantization.hpp) are multiplied by rows that are rotated and
// quantized to int8, with one scale for each row. The integer sums are exact, so the result of a
// row does not depend on the other rows. Results do not depend on the number of threads: no sum is
// split between threads.
#pragma once

#include <memory>
#include <span>

#include "pllava/core/backend.hpp"
#include "pllava/core/stack_arena.hpp"
#include "pllava/core/thread_pool.hpp"
#include "pllava/cpu/arena.hpp"
#include "pllava/cpu/backend_options.hpp"
#include "pllava/cpu/detail/execution_context.hpp"
#include "pllava/cpu/kernels.hpp"
#include "pllava/cpu/packed_weights.hpp"
#include "pllava/cpu/weight.hpp"
#include "pllava/media/preprocess.hpp"

namespace pllava::cpu {

namespace detail {
class PanelColumns;
}

/// Keys and values of one layer, for each kv head as panels of the matrix kernels:
/// keys [head][position/32][dim][32], values [head][dim/32][position][32]. bf16 panels interleave
/// pairs along dim and along position, int8 panels do not. int8 has one scale for each key and each
/// value, (head, 2, position).
struct KvLayer {
  Index capacity = 0;  ///< positions, a multiple of 32
  std::shared_ptr<void> keys, values;
  std::shared_ptr<void> scales = {};  ///< f32, for int8; otherwise null
};

/// Threads: belongs to one thread at a time. `fork` returns a backend for another thread, with the
/// same pool and its own scratch memory.
class Backend {
 public:
  using Weight = cpu::Weight;
  using KvLayer = cpu::KvLayer;
  using Linear = pllava::Linear<Weight>;
  using Norm = pllava::Norm<Weight>;
  using Attention = pllava::Attention<Weight, KvLayer>;

  /// Throws ArgumentError for a dtype other than f32 and bf16.
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
  void move_kv(KvLayer& kv, const Heads& heads, Index to, Index from, Index rows);
  void embed(View x, ConstView ids, const Weight& table);
  void preprocess(View pixels, std::span<const Frame> frames, const PreprocessConfig& config);
  void patchify(View y, ConstView pixels, Index patch);
  void add_positions(View x, ConstView patches, const Weight& cls, const Weight& positions,
                     Index per_frame);
  void select_patches(View y, ConstView x, Index per_frame);
  void pool3d(View y, ConstView x, const Grid& in, const Grid& out, PoolKind kind);

 private:
  Backend(const BackendOptions& options, std::shared_ptr<ThreadPool> pool);
  detail::ExecutionContext context() const { return {*kernels_, *pool_, *arena_}; }
  static void copy(void* dst, const void* src, Index bytes);
  void pool_bilinear(View y, ConstView x, const Grid& in, const Grid& out);
  template <class Fill>
  std::shared_ptr<void> weight_memory(Index bytes, const char* what_for, const Fill& fill);
  Weight prepare_vector(std::span<const HostTensor> parts);
  Weight prepare_table(const HostTensor& table);
  Weight prepare_matrix(const detail::PanelColumns& columns);
  Weight prepare_quantized(const detail::PanelColumns& columns, const Quantization& q);

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
#include "pllava/cpu/detail/linear_inl.hpp"
#include "pllava/cpu/detail/prepare_inl.hpp"
#include "pllava/cpu/detail/rowwise_inl.hpp"
#include "pllava/cpu/detail/vision_inl.hpp"
#endif
