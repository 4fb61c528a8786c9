// LayerNorm and RMSNorm: a block normalizes a row.
#include "norm.cuh"

namespace pllava::cuda::kernels {
namespace {

constexpr int kThreads = 256;

template <class Y>
PLLAVA_KERNEL(kThreads, 1)
norm_kernel(Y* y, const float* x, int width, Norm norm) {
  PLLAVA_DYNAMIC_SHARED(memory);
  PLLAVA_SHARED float sums[kWarp];
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * width;
  norm_row(x + first, width, norm, reinterpret_cast<float*>(memory), sums,
           [&](int d, float v) { y[first + d] = from_float<Y>(v); });
}

}  // namespace

int norm(Operand y, const float* x, std::int64_t rows, int width, const Norm& norm, Stream stream) {
  return with_type(y.type, [&](auto type) {
    using Y = decltype(type);
    return launch(norm_kernel<Y>, {static_cast<unsigned>(rows)}, kThreads, width * 4, stream,
                  mutable_data_as<Y>(y), x, width, norm);
  });
}

}  // namespace pllava::cuda::kernels
