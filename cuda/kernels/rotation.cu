// The rotation of rows that are multiplied with int8 and int4 matrices: see core/rotation.hpp,
// whose order of additions it keeps. A product is stored, and a barrier follows, before it is
// added, so the compiler cannot contract the two to a fused multiply-add.
#include "simt.cuh"

namespace pllava::cuda::kernels {
namespace {

constexpr int kThreads = 512;  // at most
constexpr int kValues = 16;    // that a thread mixes in registers

/// The first and then the last `power` of `width` channels are mixed.
struct Rotation {
  int width, power;
  float scale;  // 1 / sqrt(power)
};

/// As in core/rotation.hpp.
PLLAVA_DEVICE bool flips_sign(int k, bool last) {
  auto hash = (static_cast<std::uint32_t>(k) + (last ? 1u << 20 : 0u)) * 0x9e3779b1u;
  hash = (hash ^ (hash >> 15)) * 0x85ebca77u;
  return hash >> 31 != 0;
}

/// A row in shared memory, or in global memory if it is too long. In shared memory a gap after
/// every 32 values keeps lanes that read `kValues` values apart in different banks.
template <bool shared>
struct Row {
  float* data;
  PLLAVA_DEVICE float& operator[](int k) const { return data[shared ? k + k / kWarp : k]; }
};

/// The butterflies of the strides from `stride` to Values / 2 * stride on `power` channels from
/// `first` on. A thread mixes `Values` channels at a time. After the last stride of all, finish(k,
/// value) is stored. Ends with a barrier.
template <int Values, bool shared, class Finish>
PLLAVA_DEVICE void butterflies(const Row<shared>& row, int first, int power, int stride,
                               const Finish& finish) {
  const bool last = stride * Values == power;
  for (int i = static_cast<int>(threadIdx.x); i < power / Values;
       i += static_cast<int>(blockDim.x)) {
    const int begin = first + (i & -stride) * Values + (i & (stride - 1));
    float v[Values];
    PLLAVA_UNROLL
    for (int j = 0; j < Values; ++j) v[j] = row[begin + j * stride];
    PLLAVA_UNROLL
    for (int s = 1; s < Values; s *= 2) PLLAVA_UNROLL
    for (int j = 0; j < Values; ++j) {
      if ((j & s) != 0) continue;
      const float a = v[j], b = v[j + s];
      v[j] = a + b;
      v[j + s] = a - b;
    }
    PLLAVA_UNROLL
    for (int j = 0; j < Values; ++j) {
      const int k = begin + j * stride;
      row[k] = last ? finish(k, v[j]) : v[j];
    }
  }
  __syncthreads();
}

/// Multiplies `power` channels from `first` on by the Hadamard matrix, without its scale.
template <bool shared, class Finish>
PLLAVA_DEVICE void hadamard(const Row<shared>& row, int first, int power, const Finish& finish) {
  int stride = 1;
  for (; stride * kValues <= power; stride *= kValues)
    butterflies<kValues>(row, first, power, stride, finish);
  switch (power / stride) {
    case 8: butterflies<8>(row, first, power, stride, finish); break;
    case 4: butterflies<4>(row, first, power, stride, finish); break;
    case 2: butterflies<2>(row, first, power, stride, finish); break;
  }
}

/// A block rotates a row; without `shared` in y, which is then f32. Signs are flipped, and sums
/// scaled, as they are stored.
template <bool shared, class Y, class X>
PLLAVA_KERNEL(kThreads, 1)
rotate_rows_kernel(Y* y, const X* x, Rotation rotation) {
  PLLAVA_DYNAMIC_SHARED(memory);
  const int width = rotation.width, power = rotation.power;
  const float scale = rotation.scale;
  const int thread = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x);
  x += static_cast<std::int64_t>(blockIdx.x) * width;
  y += static_cast<std::int64_t>(blockIdx.x) * width;
  const Row<shared> row{shared ? reinterpret_cast<float*>(memory) : reinterpret_cast<float*>(y)};
  for (int k = thread; k < width; k += threads) {
    const float v = to_float(x[k]);
    row[k] = flips_sign(k, k >= power) ? -v : v;
  }
  __syncthreads();
  const int rest = width - power;
  hadamard(row, 0, power, [=](int k, float v) {
    return rest > 0 && k >= rest && flips_sign(k, true) ? -(v * scale) : v * scale;
  });
  if (rest > 0) hadamard(row, rest, power, [=](int, float v) { return v * scale; });
  if constexpr (shared)
    for (int k = thread; k < width; k += threads) y[k] = from_float<Y>(row[k]);
}

/// As many threads as one step of the butterflies uses, in whole warps.
int threads_for(int power) {
  const int threads = (power / kValues + kWarp - 1) / kWarp * kWarp;
  return threads < kWarp ? kWarp : threads < kThreads ? threads : kThreads;
}

}  // namespace

int rotation_shared_bytes(int width) {
  return (width + width / kWarp) * static_cast<int>(sizeof(float));
}

int rotate_rows(Operand y, Operand x, std::int64_t rows, int width, Stream stream) {
  if (width == 0) return 0;
  Rotation rotation{width, 1, 1};
  while (rotation.power <= width / 2) rotation.power *= 2;
  rotation.scale = 1.0f / std::sqrt(static_cast<float>(rotation.power));
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
