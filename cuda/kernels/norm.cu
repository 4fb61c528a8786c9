// Norms and the additions before them: one block a row, which stays in registers and shared memory
// between the two passes.
#include "simt.cuh"

namespace pllava::cuda::kernels {

namespace {

constexpr int kThreads = 256;

/// x += branch where there is one, then y = norm(x) where there is a gain. A row of x, as it will
/// be, waits in shared memory.
template <class Y, class Branch>
PLLAVA_KERNEL(kThreads, 1)
add_norm_kernel(Y* y, float* x, const Branch* branch, int width, Norm norm) {
  PLLAVA_DYNAMIC_SHARED(memory);
  PLLAVA_SHARED float sums[kWarp];
  auto* row = reinterpret_cast<float*>(memory);
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * width;
  const auto me = static_cast<int>(threadIdx.x), stride = static_cast<int>(blockDim.x);
  float sum = 0;
  for (int d = me; d < width; d += stride) {
    float v = x[first + d];
    if (branch != nullptr) {
      v += to_float(branch[first + d]);
      x[first + d] = v;
    }
    row[d] = v;
    sum += norm.bias != nullptr ? v : 0.0f;
  }
  if (norm.gain == nullptr) return;
  const float mean = norm.bias != nullptr ? block_sum(sum, sums) / static_cast<float>(width) : 0.0f;
  __syncthreads();
  float square = 0;
  for (int d = me; d < width; d += stride) square += (row[d] - mean) * (row[d] - mean);
  const float variance = block_sum(square, sums) / static_cast<float>(width);
  const float scale = 1.0f / sqrtf(variance + norm.eps);
  for (int d = me; d < width; d += stride) {
    const float shift = norm.bias != nullptr ? norm.bias[d] : 0.0f;
    y[first + d] = from_float<Y>((row[d] - mean) * scale * norm.gain[d] + shift);
  }
}

int start(Operand y, float* x, Operand branch, std::int64_t rows, int width, const Norm& norm,
          Stream stream) {
  return with_type(y.type, [&](auto to) {
    return with_type(branch.type, [&](auto from) {
      using Y = decltype(to);
      using Branch = decltype(from);
      return launch(add_norm_kernel<Y, Branch>, {static_cast<unsigned>(rows)}, kThreads, width * 4,
                    stream, static_cast<Y*>(y.data), x, static_cast<const Branch*>(branch.data),
                    width, norm);
    });
  });
}

template <class T>
PLLAVA_KERNEL(kThreads, 1)
add_kernel(float* x, const T* branch, std::int64_t n) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < n) x[i] += to_float(branch[i]);
}

}  // namespace

int norm(Operand y, const float* x, std::int64_t rows, int width, const Norm& norm, Stream stream) {
  return start(y, const_cast<float*>(x), {}, rows, width, norm, stream);  // read only: no branch
}

int add_norm(Operand h, float* x, Operand branch, std::int64_t rows, int width, const Norm& norm,
             Stream stream) {
  return start(h, x, branch, rows, width, norm, stream);
}

int add(float* x, Operand branch, std::int64_t n, Stream stream) {
  return with_type(branch.type, [&](auto type) {
    using T = decltype(type);
    return launch(add_kernel<T>, {static_cast<unsigned>((n + kThreads - 1) / kThreads)}, kThreads,
                  0, stream, x, static_cast<const T*>(branch.data), n);
  });
}

}  // namespace pllava::cuda::kernels
