// LayerNorm and RMSNorm of one row, which waits in shared memory between the passes.
#pragma once

#include "simt.cuh"

namespace pllava::cuda::kernels {

/// A float that another block of the same kernel may have written: not from this processor's cache.
PLLAVA_DEVICE float load_written(const float* p) {
#ifdef __CUDA_ARCH__
  return __ldcg(p);
#else
  return *p;
#endif
}

/// Calls store(d, value) for each value of norm(x), with all threads of a block. `row`: `width`
/// floats of shared memory, `sums`: 32, both free for use.
template <class Store>
PLLAVA_DEVICE void norm_row(const float* x, int width, const Norm& norm, float* row, float* sums,
                            const Store& store) {
  const auto me = static_cast<int>(threadIdx.x), stride = static_cast<int>(blockDim.x);
  const bool centred = norm.bias != nullptr;
  float sum = 0;
  for (int d = me; d < width; d += stride) {
    row[d] = load_written(x + d);
    sum += row[d];
  }
  const float mean = centred ? block_sum(sum, sums) / static_cast<float>(width) : 0.0f;
  __syncthreads();
  float square = 0;
  for (int d = me; d < width; d += stride) square += (row[d] - mean) * (row[d] - mean);
  const float variance = block_sum(square, sums) / static_cast<float>(width);
  const float scale = 1.0f / sqrtf(variance + norm.eps);
  for (int d = me; d < width; d += stride) {
    const float shift = centred ? norm.bias[d] : 0.0f;
    store(d, (row[d] - mean) * scale * norm.gain[d] + shift);
  }
}

}  // namespace pllava::cuda::kernels
