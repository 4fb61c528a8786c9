// A linear layer of one row that is added to the residual, and the next layer's norm.
#include "gemv.cuh"
#include "norm.cuh"

namespace pllava::cuda::kernels {
namespace {

/// The last block to finish applies the norm. Each block makes its outputs visible with a fence
/// before it increments the counter, so the last one sees all outputs. It resets the counter for
/// the next kernel of the stream, so that a captured graph can be replayed. Memory traffic equals
/// that of a separate norm kernel, which would also find the row in the L2 cache; the saving is one
/// launch.
template <class Weights>
PLLAVA_KERNEL(kGemvThreads, 4)
gemv_norm_kernel(Gemv params, Weights w, int stride, Operand h, Norm norm,
                 unsigned* block_counter) {
  PLLAVA_DYNAMIC_SHARED(memory);
  PLLAVA_SHARED float sums[kWarp];
  PLLAVA_SHARED bool last;
  auto* row = reinterpret_cast<float*>(memory);
  gemv_block<Weights, 1>(params, w, row, stride);
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    last = atomicAdd(block_counter, 1u) + 1 == gridDim.x;
    if (last) *block_counter = 0;
    __threadfence();
  }
  __syncthreads();
  if (last)
    norm_row(static_cast<const float*>(params.y.data), params.out, norm, row, sums,
             [&](int d, float v) { store_any(h, d, v); });
}

template <class Matrix>
int launch_gemv_norm(const Gemv& params, const Matrix& matrix, const Operand& h, const Norm& norm,
                     unsigned* block_counter, Stream stream) {
  return with_weights(params, matrix, [&](const auto& w) {
    using Weights = std::decay_t<decltype(w)>;
    return launch(gemv_norm_kernel<Weights>, gemv_grid(params), kGemvThreads,
                  gemv_norm_shared_bytes(params.out, params.in), stream, params, w,
                  shared_stride(params.in), h, norm, block_counter);
  });
}

}  // namespace

int gemv_norm_shared_bytes(int out, int in) {
  const int x = gemv_shared_bytes(1, in), row = out * static_cast<int>(sizeof(float));
  return x > row ? x : row;
}

int gemv_norm(const Gemv& params, Operand w, Operand h, const Norm& norm, unsigned* block_counter,
              Stream stream) {
  return launch_gemv_norm(params, w, h, norm, block_counter, stream);
}
int gemv_norm(const Gemv& params, const QuantizedMatrix& w, Operand h, const Norm& norm,
              unsigned* block_counter, Stream stream) {
  return launch_gemv_norm(params, w, h, norm, block_counter, stream);
}

}  // namespace pllava::cuda::kernels
