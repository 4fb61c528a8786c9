// The rotation of activation rows: see core/rotation.hpp, whose order of additions it keeps. See
// simd_base.hpp.

template <std::size_t kStride, std::size_t... kLane>
PLLAVA_VECTOR VecF32 butterfly(VecF32 v, std::index_sequence<kLane...>) {
  const VecF32 swapped = {v[kLane ^ kStride]...};
  const VecI32 signs = {((kLane & kStride) != 0 ? INT32_MIN : 0)...};
  return swapped + as_f32(as_i32(v) ^ signs);
}

/// Lanes i and i + kStride of each pair: their sum and difference.
template <std::size_t kStride>
PLLAVA_VECTOR VecF32 butterfly(VecF32 v) {
  return butterfly<kStride>(v, std::make_index_sequence<kLanes>());
}

/// Vectors that a pass over a row mixes in registers.
constexpr Index kRotationVecs = kLanes == 16 ? 16 : 8;

/// The butterflies of strides of 1, 2, ... N/2 vectors.
template <Index N>
PLLAVA_VECTOR void butterflies(VecF32 (&v)[N]) {
#pragma GCC unroll 4
  for (Index stride = 1; stride < N; stride *= 2)
#pragma GCC unroll 16
    for (Index i = 0; i < N; ++i) {
      if ((i & stride) != 0) continue;
      const VecF32 a = v[i], b = v[i + stride];
      v[i] = a + b;
      v[i + stride] = a - b;
    }
}

/// The sign bits of the flips of the channels in `k`.
PLLAVA_VECTOR VecI32 sign_flips(VecU32 k) {
  VecU32 hash = k * 0x9e3779b1u;
  hash = (hash ^ (hash >> 15)) * 0x85ebca77u;
  return (VecI32)(hash & 0x80000000u);
}

/// The butterflies of the strides from `stride` to N/2 · stride on n values, then times `scale`.
template <Index N>
void mix_strided(float* x, Index n, Index stride, float scale) {
  for (Index begin = 0; begin < n; begin += N * stride)
    for (Index i = begin; i < begin + stride; i += kLanes) {
      VecF32 v[N];
#pragma GCC unroll 16
      for (Index j = 0; j < N; ++j) v[j] = load(x + i + j * stride);
      butterflies(v);
#pragma GCC unroll 16
      for (Index j = 0; j < N; ++j) store(x + i + j * stride, v[j] * scale);
    }
}

/// Flips signs of N vectors, whose channels are `k` and those after it, and mixes their values.
template <Index N>
PLLAVA_VECTOR void flip_and_mix(float* x, VecU32 k, float scale) {
  VecF32 v[N];
#pragma GCC unroll 16
  for (Index j = 0; j < N; ++j) {
    const VecU32 channels = k + static_cast<std::uint32_t>(j * kLanes);
    v[j] = as_f32(as_i32(load(x + j * kLanes)) ^ sign_flips(channels));
    v[j] = butterfly<2>(butterfly<1>(v[j]));
    if constexpr (kLanes > 4) v[j] = butterfly<4>(v[j]);
    if constexpr (kLanes > 8) v[j] = butterfly<8>(v[j]);
  }
  butterflies(v);
#pragma GCC unroll 16
  for (Index j = 0; j < N; ++j) store(x + j * kLanes, v[j] * scale);
}

/// Flips signs of n values, a power of two of at least kLanes, and multiplies them by the Hadamard
/// matrix. `k` are the channels of the first ones, as flips_sign() counts them.
void flip_and_transform(float* x, VecU32 k, Index n, float scale) {
  constexpr Index kBlock = kRotationVecs * kLanes;
  if (n < kBlock) {
    for (Index i = 0; i < n; i += kLanes)
      flip_and_mix<1>(x + i, k + static_cast<std::uint32_t>(i), n == kLanes ? scale : 1.0f);
  } else {
    for (Index i = 0; i < n; i += kBlock)
      flip_and_mix<kRotationVecs>(x + i, k + static_cast<std::uint32_t>(i),
                                  n == kBlock ? scale : 1.0f);
  }
  for (Index stride = n < kBlock ? kLanes : kBlock; stride < n;) {
    const Index left = n / stride, vecs = left < kRotationVecs ? left : kRotationVecs;
    const float factor = left == vecs ? scale : 1.0f;
    switch (vecs) {
      case 2: mix_strided<2>(x, n, stride, factor); break;
      case 4: mix_strided<4>(x, n, stride, factor); break;
      case 8: mix_strided<8>(x, n, stride, factor); break;
      default: mix_strided<kRotationVecs>(x, n, stride, factor); break;
    }
    stride *= vecs;
  }
}

void rotate(float* x, Index n) {
  if (n < 2 * kLanes) return pllava::rotate(std::span<float>(x, static_cast<std::size_t>(n)));
  Index power = 2 * kLanes;  // the largest one that is at most n
  while (2 * power <= n) power *= 2;
  const float scale = 1.0f / __builtin_sqrtf(static_cast<float>(power));
  VecU32 k{};
  for (Index lane = 0; lane < kLanes; ++lane) k[lane] = static_cast<std::uint32_t>(lane);
  flip_and_transform(x, k, power, scale);
  if (power == n) return;
  const Index first = n - power;
  flip_and_transform(x + first, k + static_cast<std::uint32_t>(first) + (1u << 20), power, scale);
}

/// `table` with this kernel.
constexpr Kernels with_rotation(Kernels table) {
  table.rotate = rotate;
  return table;
}
