// The rotation of rows that are multiplied with int8 and int4 matrices.
#include "rotation.cuh"

namespace pllava::cuda::kernels {
namespace {

constexpr int kThreads = 512;  // at most
constexpr int kValues = 16;    // that a thread mixes in registers

/// A block rotates a row; without `shared` in y, which is then f32.
template <bool shared, class Y, class X>
PLLAVA_KERNEL(kThreads, 1)
rotate_rows_kernel(Y* y, const X* x, Rotation rotation) {
  PLLAVA_DYNAMIC_SHARED(memory);
  const int width = rotation.width;
  x += static_cast<std::int64_t>(blockIdx.x) * width;
  y += static_cast<std::int64_t>(blockIdx.x) * width;
  const Row<shared> row{shared ? reinterpret_cast<float*>(memory) : reinterpret_cast<float*>(y)};
  rotate<BlockThreads, kValues>(row, rotation, [&](int k) { return to_float(x[k]); });
  if constexpr (shared)
    for (int k = BlockThreads::index(); k < width; k += BlockThreads::count())
      y[k] = from_float<Y>(row[k]);
}

/// As many threads as one step of the butterflies uses, in whole warps.
int threads_for(int power) {
  const int threads = (power / kValues + kWarp - 1) / kWarp * kWarp;
  return threads < kWarp ? kWarp : threads < kThreads ? threads : kThreads;
}

}  // namespace

int rotation_shared_bytes(int width) {
  return rotation_row_size(width) * static_cast<int>(sizeof(float));
}

int rotate_rows(Operand y, Operand x, std::int64_t rows, int width, Stream stream) {
  if (width == 0) return 0;
  const Rotation rotation = rotation_of(width);
  const Grid grid = {static_cast<unsigned>(rows)};
  const int threads = threads_for(rotation.power), shared_bytes = rotation_shared_bytes(width);
  return with_type(x.type, [&](auto x_type) {
    using X = decltype(x_type);
    if (shared_bytes > kMaxSharedBytes)
      return y.type == Type::f32
                 ? launch(rotate_rows_kernel<false, float, X>, grid, threads, 0, stream,
                          mutable_data_as<float>(y), data_as<X>(x), rotation)
                 : kInvalidValue;
    return with_type(y.type, [&](auto y_type) {
      using Y = decltype(y_type);
      return launch(rotate_rows_kernel<true, Y, X>, grid, threads, shared_bytes, stream,
                    mutable_data_as<Y>(y), data_as<X>(x), rotation);
    });
  });
}

}  // namespace pllava::cuda::kernels
