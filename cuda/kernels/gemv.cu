// Linear layers by GEMV: y = act(x * W^T + bias) or y += x * W^T + bias.
#include "gemv.cuh"

namespace pllava::cuda::kernels {
namespace {

template <class Weights, int Rows>
PLLAVA_KERNEL(kGemvThreads, 4)
gemv_kernel(Gemv params, Weights w, int stride) {
  PLLAVA_DYNAMIC_SHARED(memory);
  gemv_block<Weights, Rows>(params, w, reinterpret_cast<float*>(memory), stride);
}

template <class Matrix>
int launch_gemv(const Gemv& params, const Matrix& matrix, Stream stream) {
  return with_weights(params, matrix, [&](const auto& w) {
    return with_rows(params.rows, [&](auto rows) {
      using Weights = std::decay_t<decltype(w)>;
      return launch(gemv_kernel<Weights, decltype(rows)::value>, gemv_grid(params), kGemvThreads,
                    gemv_shared_bytes(params.rows, params.in), stream, params, w,
                    shared_stride(params.in));
    });
  });
}

}  // namespace

int gemv_shared_bytes(int rows, int in) {
  int computed = 1;  // see with_rows()
  while (computed < rows) computed *= 2;
  return computed * shared_stride(in) * static_cast<int>(sizeof(float));
}

int gemv(const Gemv& params, Operand w, Stream stream) {
  return launch_gemv(params, w, stream);
}
int gemv(const Gemv& params, const QuantizedMatrix& w, Stream stream) {
  return launch_gemv(params, w, stream);
}

}  // namespace pllava::cuda::kernels
