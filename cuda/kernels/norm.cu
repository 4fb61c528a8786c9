// What a block does with a row: LayerNorm and RMSNorm, and rounding to e4m3.
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

template <class X>
PLLAVA_KERNEL(kThreads, 1)
round_rows_kernel(e4m3* y, float* scales, const X* x, int width) {
  PLLAVA_SHARED float tops[kWarp], sums[kWarp];
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * width;
  float top = 0.0f, nothing = 0.0f;
  for (int d = static_cast<int>(threadIdx.x); d < width; d += kThreads) {
    const float v = to_float(x[first + d]);
    top = fmaxf(top, fabsf(v));
    nothing += v - v;
  }
  top = block_max(top, tops);
  nothing = block_sum(nothing, sums);
  const float inverse = top > 0.0f ? 448.0f / top : 0.0f;
  for (int d = static_cast<int>(threadIdx.x); d < width; d += kThreads)
    y[first + d] = from_float<e4m3>(to_float(x[first + d]) * inverse);
  if (threadIdx.x == 0) scales[blockIdx.x] = top / 448.0f + nothing;
}

}  // namespace

int round_rows(std::uint8_t* y, float* scales, Operand x, std::int64_t rows, int width,
               Stream stream) {
  return with_type(x.type, [&](auto type) {
    using X = decltype(type);
    return launch(round_rows_kernel<X>, {static_cast<unsigned>(rows)}, kThreads, 0, stream,
                  reinterpret_cast<e4m3*>(y), scales, static_cast<const X*>(x.data), width);
  });
}

int norm(Operand y, const float* x, std::int64_t rows, int width, const Norm& norm, Stream stream) {
  return with_type(y.type, [&](auto type) {
    using Y = decltype(type);
    return launch(norm_kernel<Y>, {static_cast<unsigned>(rows)}, kThreads, width * 4, stream,
                  static_cast<Y*>(y.data), x, width, norm);
  });
}

}  // namespace pllava::cuda::kernels
