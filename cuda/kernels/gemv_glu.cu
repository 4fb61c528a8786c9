// Gated linear layers by GEMV: g = act(h * Wg^T) * (h * Wu^T).
#include "gemv.cuh"

namespace pllava::cuda::kernels {
namespace {

/// One warp per output column, for all rows of x; it reads one row of Wg and one of Wu.
template <class Weights, int Rows>
PLLAVA_KERNEL(kGemvThreads, 4)
gemv_glu_kernel(Gemv params, Weights w, int stride) {
  PLLAVA_DYNAMIC_SHARED(memory);
  auto* x = reinterpret_cast<float*>(memory);
  load_rows<Rows>(x, params.x, params.rows, params.in, stride);
  const int warp = static_cast<int>(threadIdx.x) / kWarp,
            lane = static_cast<int>(threadIdx.x) % kWarp;
  const int column = static_cast<int>(blockIdx.x) * kGemvWarps + warp;
  if (column >= params.out) return;
  const int outputs[2] = {column, params.out + column};
  float sums[2][Rows] = {};
  w.multiply(sums, outputs, x, stride, lane);
  for (int r = 0; r < Rows; ++r) {
    const float gate = warp_sum(sums[0][r]), up = warp_sum(sums[1][r]);
    if (lane == 0 && r < params.rows)
      store_any(params.y, static_cast<std::int64_t>(r) * params.out + column,
                activate(gate, params.act) * up);
  }
}

template <class Matrix>
int launch_gemv_glu(const Gemv& params, const Matrix& matrix, Stream stream) {
  return with_weights(params, matrix, [&](const auto& w) {
    return with_rows(params.rows, [&](auto rows) {
      using Weights = std::decay_t<decltype(w)>;
      return launch(gemv_glu_kernel<Weights, decltype(rows)::value>,
                    grid_for(params.out, kGemvWarps), kGemvThreads,
                    gemv_shared_bytes(params.rows, params.in), stream, params, w,
                    shared_stride(params.in));
    });
  });
}

}  // namespace

int gemv_glu(const Gemv& params, Operand w, Stream stream) {
  return launch_gemv_glu(params, w, stream);
}
int gemv_glu(const Gemv& params, const QuantizedMatrix& w, Stream stream) {
  return launch_gemv_glu(params, w, stream);
}

}  // namespace pllava::cuda::kernels
