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

/// Multiplies n values, a power of two, by the Hadamard matrix and `scale`.
void hadamard(float* x, Index n, float scale) {
  if (n < kLanes) {
    for (Index stride = 1; stride < n; stride *= 2)
      for (Index begin = 0; begin < n; begin += 2 * stride)
        for (Index i = begin; i < begin + stride; ++i) {
          const float a = x[i], b = x[i + stride];
          x[i] = a + b;
          x[i + stride] = a - b;
        }
    for (Index i = 0; i < n; ++i) x[i] *= scale;
    return;
  }
  for (Index i = 0; i < n; i += kLanes) {
    VecF32 v = butterfly<2>(butterfly<1>(load(x + i)));
    if constexpr (kLanes > 4) v = butterfly<4>(v);
    if constexpr (kLanes > 8) v = butterfly<8>(v);
    store(x + i, v);
  }
  Index stride = kLanes;
  for (; 4 * stride <= n; stride *= 4)  // two strides at once
    for (Index begin = 0; begin < n; begin += 4 * stride)
      for (Index i = begin; i < begin + stride; i += kLanes) {
        const VecF32 a = load(x + i), b = load(x + i + stride);
        const VecF32 c = load(x + i + 2 * stride), d = load(x + i + 3 * stride);
        const VecF32 ab = a + b, cd = c + d, a_b = a - b, c_d = c - d;
        store(x + i, ab + cd);
        store(x + i + stride, a_b + c_d);
        store(x + i + 2 * stride, ab - cd);
        store(x + i + 3 * stride, a_b - c_d);
      }
  if (stride < n)
    for (Index i = 0; i < stride; i += kLanes) {
      const VecF32 a = load(x + i), b = load(x + i + stride);
      store(x + i, a + b);
      store(x + i + stride, a - b);
    }
  for (Index i = 0; i < n; i += kLanes) store(x + i, load(x + i) * scale);
}

void flip_signs(float* x, Index first, Index n, bool last) {
  Index i = 0;
  VecU32 k{};
  for (Index lane = 0; lane < kLanes; ++lane)
    k[lane] = static_cast<std::uint32_t>(first + lane) + (last ? 1u << 20 : 0u);
  for (; i + kLanes <= n; i += kLanes, k += static_cast<std::uint32_t>(kLanes)) {
    VecU32 hash = k * 0x9e3779b1u;
    hash = (hash ^ (hash >> 15)) * 0x85ebca77u;
    store(x + i, as_f32(as_i32(load(x + i)) ^ (VecI32)(hash & 0x80000000u)));
  }
  for (; i < n; ++i)
    if (pllava::detail::flips_sign(static_cast<std::uint32_t>(first + i), last)) x[i] = -x[i];
}

void rotate(float* x, Index n) {
  Index power = 1;  // the largest one that is at most n
  while (2 * power <= n) power *= 2;
  const float scale = 1.0f / __builtin_sqrtf(static_cast<float>(power));
  flip_signs(x, 0, power, false);
  hadamard(x, power, scale);
  if (power == n) return;
  flip_signs(x + n - power, n - power, power, true);
  hadamard(x + n - power, power, scale);
}

/// `table` with this kernel.
constexpr Kernels with_rotation(Kernels table) {
  table.rotate = rotate;
  return table;
}
