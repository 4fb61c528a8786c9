// The rotation of core/rotation.hpp, whose order of additions it keeps, by the threads of a block
// or a warp. A product is stored, and a barrier follows, before it is added, so the compiler cannot
// contract the two to a fused multiply-add.
#pragma once

#include <cmath>
#include <cstdint>

#include "simt.cuh"

namespace pllava::cuda::kernels {

/// The first and then the last `power` of `width` channels are mixed.
struct Rotation {
  int width, power;
  float scale;  // 1 / sqrt(power)
};

inline Rotation rotation_of(int width) {
  Rotation rotation{width, 1, 1};
  while (rotation.power <= width / 2) rotation.power *= 2;
  rotation.scale = 1.0f / std::sqrt(static_cast<float>(rotation.power));
  return rotation;
}

/// Floats of a row of `width` channels in shared memory: see Row.
constexpr int rotation_row_size(int width) {
  return width + width / kWarp;
}

/// A row in shared memory, or in global memory if it is too long. In shared memory a gap after
/// every 32 values keeps lanes that read neighbouring values apart in different banks.
template <bool shared>
struct Row {
  float* data;
  PLLAVA_DEVICE float& operator[](int k) const { return data[shared ? k + k / kWarp : k]; }
};

/// The threads that rotate a row.
struct BlockThreads {
  static PLLAVA_DEVICE int index() { return static_cast<int>(threadIdx.x); }
  static PLLAVA_DEVICE int count() { return static_cast<int>(blockDim.x); }
  static PLLAVA_DEVICE void sync() { __syncthreads(); }
};
struct WarpThreads {
  static PLLAVA_DEVICE int index() { return static_cast<int>(threadIdx.x) % kWarp; }
  static PLLAVA_DEVICE int count() { return kWarp; }
  static PLLAVA_DEVICE void sync() { __syncwarp(); }
};

/// As in core/rotation.hpp.
PLLAVA_DEVICE bool flips_sign(int k, bool last) {
  auto hash = (static_cast<std::uint32_t>(k) + (last ? 1u << 20 : 0u)) * 0x9e3779b1u;
  hash = (hash ^ (hash >> 15)) * 0x85ebca77u;
  return hash >> 31 != 0;
}

/// The butterflies of the strides from `stride` to Values / 2 * stride on `power` channels from
/// `first` on. A thread mixes `Values` channels at a time. After the last stride of all, finish(k,
/// value) is stored. Ends with a barrier.
template <class Threads, int Values, bool shared, class Finish>
PLLAVA_DEVICE void butterflies(const Row<shared>& row, int first, int power, int stride,
                               const Finish& finish) {
  const bool last = stride * Values == power;
  for (int i = Threads::index(); i < power / Values; i += Threads::count()) {
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
  Threads::sync();
}

/// The strides from `stride` on: all of the Hadamard matrix, without its scale, from 1 on.
template <class Threads, int Values, bool shared, class Finish>
PLLAVA_DEVICE void hadamard(const Row<shared>& row, int first, int power, int stride,
                            const Finish& finish) {
  for (; stride * Values <= power; stride *= Values)
    butterflies<Threads, Values>(row, first, power, stride, finish);
  if constexpr (Values > 2) hadamard<Threads, Values / 2>(row, first, power, stride, finish);
}

/// Rotates a row, which value_of(k) returns, in `row`. A thread mixes `Values` channels at a time.
/// Signs are flipped, and sums scaled, as they are stored. Ends with a barrier.
template <class Threads, int Values, bool shared, class ValueOf>
PLLAVA_DEVICE void rotate(const Row<shared>& row, const Rotation& rotation,
                          const ValueOf& value_of) {
  const int width = rotation.width, power = rotation.power, rest = width - power;
  const float scale = rotation.scale;
  for (int k = Threads::index(); k < width; k += Threads::count()) {
    const float v = value_of(k);
    row[k] = flips_sign(k, k >= power) ? -v : v;
  }
  Threads::sync();
  hadamard<Threads, Values>(row, 0, power, 1, [=](int k, float v) {
    return rest > 0 && k >= rest && flips_sign(k, true) ? -(v * scale) : v * scale;
  });
  if (rest > 0)
    hadamard<Threads, Values>(row, rest, power, 1, [=](int, float v) { return v * scale; });
}

}  // namespace pllava::cuda::kernels
