// Products of bf16: of pairs, where the machine multiplies them (PLLAVA_DPBF16). See
// cpu_target.hpp.

// The left operand of a bf16 product. Where the machine does not multiply pairs it holds floats: a
// broadcast is then a load, and a pair of the panel turns into floats once for all rows.
#if defined(PLLAVA_DPBF16)
using Bf16Left = bf16;

template <Index MR>
PLLAVA_VECTOR void add_pair(vf (&acc)[MR][2], const bf16* a, Index, const bf16* b) {
  const auto b0 = (__m512bh)load_words(b), b1 = (__m512bh)load_words(b + 2 * W);
#pragma GCC unroll 16
  for (Index r = 0; r < MR; ++r) {
    const auto v = (__m512bh)splat_word(a + 2 * r);
    acc[r][0] = (vf)_mm512_dpbf16_ps((__m512)acc[r][0], v, b0);
    acc[r][1] = (vf)_mm512_dpbf16_ps((__m512)acc[r][1], v, b1);
  }
}
#else
using Bf16Left = float;

template <Index MR>
PLLAVA_VECTOR void add_line(vf (&acc)[MR][2], const float* a, vi b0, vi b1) {
#pragma GCC unroll 16
  for (Index r = 0; r < MR; ++r) {
    acc[r][0] += a[r] * as_float(b0);
    acc[r][1] += a[r] * as_float(b1);
    pin(acc[r][0]);
    pin(acc[r][1]);
  }
}

template <Index MR>
PLLAVA_VECTOR void add_pair(vf (&acc)[MR][2], const float* a, Index stride, const bf16* b) {
  constexpr auto kSecond = (std::int32_t)0xffff0000;
  add_line<MR>(acc, a, load_words(b) << 16, load_words(b + 2 * W) << 16);
  forget();
  add_line<MR>(acc, a + stride, load_words(b) & kSecond, load_words(b + 2 * W) & kSecond);
}
#endif

template <Index MR, Index U>
void columns_bf16(const Bf16Left* a, Index stride, const bf16* b, Index pairs, float* c) {
  vf acc[U][MR][2] = {};
  Index i = 0;
  for (; i + U <= pairs; i += U) {
#pragma GCC unroll 4
    for (Index u = 0; u < U; ++u) {
      const bf16* line = b + (i + u) * 2 * kPanel;
      __builtin_prefetch(line + 32 * kPanel);
      __builtin_prefetch(line + 32 * kPanel + kPanel);
      add_pair<MR>(acc[u], a + (i + u) * stride * 2, stride, line);
    }
  }
  for (; i < pairs; ++i) add_pair<MR>(acc[0], a + i * stride * 2, stride, b + i * 2 * kPanel);
  store_sums(c, acc);
}

void tile_bf16(Index rows, const void* left, Index stride, const bf16* b, Index pairs, float* c) {
  const auto* a = static_cast<const Bf16Left*>(left);
  for (Index n = 0; n < kPanel; n += 2 * W) switch (rows) {
      case 1: columns_bf16<1, 4>(a, stride, b + 2 * n, pairs, c + n); break;
      case 2: columns_bf16<2, 2>(a, stride, b + 2 * n, pairs, c + n); break;
      case 4: columns_bf16<4, 1>(a, stride, b + 2 * n, pairs, c + n); break;
#if PLLAVA_LANES == 16
      case 8: columns_bf16<8, 1>(a, stride, b + 2 * n, pairs, c + n); break;
      default: columns_bf16<14, 1>(a, stride, b + 2 * n, pairs, c + n); break;
#else
      default: columns_bf16<6, 1>(a, stride, b + 2 * n, pairs, c + n); break;
#endif
    }
}

/// A table with these products.
constexpr Kernels with_bf16(Kernels table) {
  table.bf16_left = std::is_same_v<Bf16Left, bf16> ? DType::bf16 : DType::f32;
  table.tile_bf16 = tile_bf16;
  return table;
}
