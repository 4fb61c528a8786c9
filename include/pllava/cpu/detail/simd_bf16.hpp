// Products of bf16: of pairs, where the machine multiplies them (PLLAVA_DPBF16). See
// simd_base.hpp.

// The left operand of a bf16 product. Where the machine does not multiply pairs it holds floats: a
// broadcast is then a load, and a pair of the panel turns into floats once for all rows.
#if defined(PLLAVA_DPBF16)
using Bf16Left = bf16;

template <Index MR, Index V>
PLLAVA_VECTOR void add_pair(vf (&acc)[MR][V], const bf16* a, Index, const bf16* b) {
  __m512bh line[V];
#pragma GCC unroll 2
  for (Index v = 0; v < V; ++v) line[v] = (__m512bh)load_words(b + 2 * v * W);
#pragma GCC unroll 16
  for (Index r = 0; r < MR; ++r) {
    const auto left = (__m512bh)splat_word(a + 2 * r);
#pragma GCC unroll 2
    for (Index v = 0; v < V; ++v)
      acc[r][v] = (vf)_mm512_dpbf16_ps((__m512)acc[r][v], left, line[v]);
  }
}
#else
using Bf16Left = float;

template <Index MR, Index V>
PLLAVA_VECTOR void add_line(vf (&acc)[MR][V], const float* a, const vi (&line)[V]) {
#pragma GCC unroll 16
  for (Index r = 0; r < MR; ++r) {
#pragma GCC unroll 8
    for (Index v = 0; v < V; ++v) acc[r][v] += a[r] * as_float(line[v]);
#pragma GCC unroll 8
    for (Index v = 0; v < V; ++v) pin(acc[r][v]);
  }
}

template <Index MR, Index V>
PLLAVA_VECTOR void add_pair(vf (&acc)[MR][V], const float* a, Index stride, const bf16* b) {
  vi line[V];
#pragma GCC unroll 8
  for (Index v = 0; v < V; ++v) line[v] = load_words(b + 2 * v * W) << 16;
  add_line(acc, a, line);
  forget();
#pragma GCC unroll 8
  for (Index v = 0; v < V; ++v) line[v] = load_words(b + 2 * v * W) & (std::int32_t)0xffff0000;
  add_line(acc, a + stride, line);
}
#endif

template <Index MR, Index V, Index U>
void columns_bf16(const Bf16Left* a, Index stride, const bf16* b, Index pairs, float* c) {
  vf acc[U][MR][V] = {};
  Index i = 0;
  for (; i + U <= pairs; i += U) {
#pragma GCC unroll 4
    for (Index u = 0; u < U; ++u) {
      const bf16* line = b + (i + u) * 2 * kPanel;
      __builtin_prefetch(line + 32 * kPanel);
      __builtin_prefetch(line + 32 * kPanel + kPanel);
      add_pair(acc[u], a + (i + u) * stride * 2, stride, line);
    }
  }
  for (; i < pairs; ++i) add_pair(acc[0], a + i * stride * 2, stride, b + i * 2 * kPanel);
  store_sums(c, acc);
}

void tile_bf16(Index rows, const void* left, Index stride, const bf16* b, Index pairs, float* c) {
  const auto* a = static_cast<const Bf16Left*>(left);
  with_shape(rows, [&]<Index MR, Index V, Index U> {
    for (Index n = 0; n < kPanel; n += V * W)
      columns_bf16<MR, V, U>(a, stride, b + 2 * n, pairs, c + n);
  });
}

/// A table with these products.
constexpr Kernels with_bf16(Kernels table) {
  table.bf16_left = std::is_same_v<Bf16Left, bf16> ? DType::bf16 : DType::f32;
  table.tile_bf16 = tile_bf16;
  return table;
}
