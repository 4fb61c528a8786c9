// Matrix product kernels for bf16. With PLLAVA_DPBF16 they multiply bf16 pairs; otherwise they
// convert the panel to f32. See simd_base.hpp.

#if defined(PLLAVA_DPBF16)
using Bf16Lhs = bf16;  // element of the left operand, [k/2][stride][2]

PLLAVA_VECTOR __m512bh load_pairs(const bf16* b) {
  return (__m512bh)load_i32(b);
}
/// Pairs of int8 in two rows of a panel. A bf16 holds any int8 exactly, in its upper half as f32.
PLLAVA_VECTOR __m512bh load_pairs(const std::int8_t* b) {
  const VecI32 first = as_i32(load(b)), second = as_i32(load(b + kPanelWidth));
  return (__m512bh)((VecI32)((VecU32)first >> 16) | second);
}

/// acc += the product of one pair of k.
template <Index MR, Index V, class B>
PLLAVA_VECTOR void accumulate_pair(VecF32 (&acc)[MR][V], const bf16* a, Index, const B* b) {
  constexpr Index kPair = std::is_same_v<B, bf16> ? 2 : 1;  // values of a column that are adjacent
  __m512bh rhs[V];
#pragma GCC unroll 2
  for (Index v = 0; v < V; ++v) rhs[v] = load_pairs(b + kPair * v * kLanes);
#pragma GCC unroll 16
  for (Index r = 0; r < MR; ++r) {
    const auto lhs = (__m512bh)broadcast_i32(a + 2 * r);
#pragma GCC unroll 2
    for (Index v = 0; v < V; ++v)
      acc[r][v] = (VecF32)_mm512_dpbf16_ps((__m512)acc[r][v], lhs, rhs[v]);
  }
}
#else
// Element of the left operand, [k][stride]. In f32 a broadcast is one load, and each pair of the
// panel is converted once for all rows.
using Bf16Lhs = float;

template <Index MR, Index V>
PLLAVA_VECTOR void accumulate_k(VecF32 (&acc)[MR][V], const float* a, const VecI32 (&rhs)[V]) {
#pragma GCC unroll 16
  for (Index r = 0; r < MR; ++r) {
#pragma GCC unroll 8
    for (Index v = 0; v < V; ++v) acc[r][v] += a[r] * as_f32(rhs[v]);
#pragma GCC unroll 8
    for (Index v = 0; v < V; ++v) keep_in_register(acc[r][v]);
  }
}

/// acc += the product of one pair of k.
template <Index MR, Index V>
PLLAVA_VECTOR void accumulate_pair(VecF32 (&acc)[MR][V], const float* a, Index stride,
                                   const bf16* b) {
  VecI32 rhs[V];
#pragma GCC unroll 8
  for (Index v = 0; v < V; ++v) rhs[v] = load_i32(b + 2 * v * kLanes) << 16;
  accumulate_k(acc, a, rhs);
  compiler_barrier();
#pragma GCC unroll 8
  for (Index v = 0; v < V; ++v) rhs[v] = load_i32(b + 2 * v * kLanes) & (std::int32_t)0xffff0000;
  accumulate_k(acc, a + stride, rhs);
}
#endif

template <Index MR, Index V, Index U, class B>
void micro_kernel_bf16(const Bf16Lhs* a, Index stride, const B* b, Index pairs, float* c) {
  VecF32 acc[U][MR][V] = {};
  Index i = 0;
  for (; i + U <= pairs; i += U) {
#pragma GCC unroll 4
    for (Index u = 0; u < U; ++u) {
      const B* rhs = b + (i + u) * 2 * kPanelWidth;
      __builtin_prefetch(rhs + 32 * kPanelWidth);
      __builtin_prefetch(rhs + 32 * kPanelWidth + kPanelWidth);
      accumulate_pair(acc[u], a + (i + u) * stride * 2, stride, rhs);
    }
  }
  for (; i < pairs; ++i)
    accumulate_pair(acc[0], a + i * stride * 2, stride, b + i * 2 * kPanelWidth);
  store_accumulators(c, acc);
}

void tile_bf16(Index rows, const void* lhs, Index stride, const bf16* b, Index pairs, float* c) {
  const auto* a = static_cast<const Bf16Lhs*>(lhs);
  with_tile_shape(rows, [&]<Index MR, Index V, Index U> {
    for (Index n = 0; n < kPanelWidth; n += V * kLanes)
      micro_kernel_bf16<MR, V, U>(a, stride, b + 2 * n, pairs, c + n);
  });
}

#if defined(PLLAVA_DPBF16)
void tile_bf16_int8(Index rows, const bf16* a, Index stride, const std::int8_t* b, Index pairs,
                    float* c) {
  with_tile_shape(rows, [&]<Index MR, Index V, Index U> {
    for (Index n = 0; n < kPanelWidth; n += V * kLanes)
      micro_kernel_bf16<MR, V, U>(a, stride, b + n, pairs, c + n);
  });
}
#endif

/// `table` with these kernels.
constexpr Kernels with_bf16(Kernels table) {
#if defined(PLLAVA_DPBF16)
  table.tile_bf16_int8 = tile_bf16_int8;
#endif
  table.bf16_lhs_dtype = std::is_same_v<Bf16Lhs, bf16> ? DType::bf16 : DType::f32;
  table.tile_bf16 = tile_bf16;
  return table;
}
