// LayerNorm and RMSNorm: a block for each row, which waits in shared memory between the passes.
#include "simt.cuh"

namespace pllava::cuda::kernels {

namespace {

constexpr int kThreads = 256;

template <class Y>
PLLAVA_KERNEL(kThreads, 1)
norm_kernel(Y* y, const float* x, int width, Norm norm) {
  PLLAVA_DYNAMIC_SHARED(memory);
  PLLAVA_SHARED float sums[kWarp];
  auto* row = reinterpret_cast<float*>(memory);
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * width;
  const auto me = static_cast<int>(threadIdx.x), stride = static_cast<int>(blockDim.x);
  const bool centred = norm.bias != nullptr;
  float sum = 0;
  for (int d = me; d < width; d += stride) {
    row[d] = x[first + d];
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
    y[first + d] = from_float<Y>((row[d] - mean) * scale * norm.gain[d] + shift);
  }
}

}  // namespace

int norm(Operand y, const float* x, std::int64_t rows, int width, const Norm& norm, Stream stream) {
  return with_type(y.type, [&](auto type) {
    using Y = decltype(type);
    return launch(norm_kernel<Y>, {static_cast<unsigned>(rows)}, kThreads, width * 4, stream,
                  static_cast<Y*>(y.data), x, width, norm);
  });
}

}  // namespace pllava::cuda::kernels
