// LayerNorm and RMSNorm of one row, which is kept in shared memory between the passes.
#pragma once

#include "simt.cuh"

namespace pllava::cuda::kernels {

/// Loads a float that another block of the same kernel may have written, past the L1 cache.
PLLAVA_DEVICE float load_uncached(const float* p) {
#ifdef __CUDA_ARCH__
  return __ldcg(p);
#else
  return *p;
#endif
}

/// Calls store(d, value) for each value of norm(x), with all threads of a block. `row`: `width`
/// floats of shared memory; `sums`: shared memory for the reductions.
template <class Store>
PLLAVA_DEVICE void norm_row(const float* x, int width, const Norm& norm, float* row,
                            float (&sums)[kWarp], const Store& store) {
  const auto thread = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x);
  const bool layer_norm = norm.bias != nullptr;
  float sum = 0;
  for (int d = thread; d < width; d += threads) {
    row[d] = load_uncached(x + d);
    sum += row[d];
  }
  const float mean = layer_norm ? block_sum(sum, sums) / static_cast<float>(width) : 0.0f;
  __syncthreads();
  float square = 0;
  for (int d = thread; d < width; d += threads) square += (row[d] - mean) * (row[d] - mean);
  const float variance = block_sum(square, sums) / static_cast<float>(width);
  const float inverse_std = 1.0f / sqrtf(variance + norm.eps);
  for (int d = thread; d < width; d += threads) {
    const float bias = layer_norm ? norm.bias[d] : 0.0f;
    store(d, (row[d] - mean) * inverse_std * norm.gain[d] + bias);
  }
}

}  // namespace pllava::cuda::kernels
