// Matrix product kernels for int8 weights. With PLLAVA_DPBUSD (x86-64 VNNI) or PLLAVA_SDOT (Arm)
// they use dot products of four bytes; otherwise x86-64 multiplies pairs of int16. See
// simd_base.hpp.

// Panels store value + 128. dot_i8_quads() takes value + kPanelZeroPoint.
#if defined(PLLAVA_SDOT)
constexpr std::int32_t kPanelZeroPoint = 0;
PLLAVA_VECTOR VecI32 dot_operand(VecI32 w) {
  return w ^ (std::int32_t)0x80808080;
}
#else
constexpr std::int32_t kPanelZeroPoint = 128;
PLLAVA_VECTOR VecI32 dot_operand(VecI32 w) {
  return w;
}
#endif

#if defined(__x86_64__)
/// acc += the dot product of two int16 in each lane.
PLLAVA_VECTOR VecI32 dot_i16_pairs(VecI32 acc, VecI32 a, VecI32 b) {
#if PLLAVA_LANES == 16
  return acc + (VecI32)_mm512_madd_epi16((__m512i)a, (__m512i)b);
#elif PLLAVA_LANES == 8
  return acc + (VecI32)_mm256_madd_epi16((__m256i)a, (__m256i)b);
#else
  return acc + (VecI32)_mm_madd_epi16((__m128i)a, (__m128i)b);
#endif
}
// The unsigned bytes at even and odd positions, as 16-bit integers.
PLLAVA_VECTOR VecI32 even_bytes(VecI32 w) {
  return w & 0x00ff00ff;
}
PLLAVA_VECTOR VecI32 odd_bytes(VecI32 w) {
  return (VecI32)((VecU16)w >> 8);
}
#endif

/// acc += the dot product of four bytes in each lane: dot_operand() bytes or int4 values in w,
/// signed bytes in a.
PLLAVA_VECTOR VecI32 dot_i8_quads(VecI32 acc, VecI32 w, VecI32 a) {
#if defined(PLLAVA_SDOT)
  // clang declares the intrinsic only if the whole file is compiled for this extension.
  __asm__("sdot %0.4s, %1.16b, %2.16b" : "+w"(acc) : "w"(w), "w"(a));
  return acc;
#elif defined(PLLAVA_DPBUSD) && PLLAVA_LANES == 16
  return (VecI32)_mm512_dpbusd_epi32((__m512i)acc, (__m512i)w, (__m512i)a);
#elif defined(PLLAVA_DPBUSD)
  return (VecI32)_mm256_dpbusd_avx_epi32((__m256i)acc, (__m256i)w, (__m256i)a);
#elif defined(__x86_64__)
  acc = dot_i16_pairs(acc, even_bytes(w), (VecI32)((VecI16)((VecU16)a << 8) >> 8));
  return dot_i16_pairs(acc, odd_bytes(w), (VecI32)((VecI16)a >> 8));
#else
  for (int shift = 0; shift < 32; shift += 8)
    acc += ((w >> shift) & 0xff) * ((a << (24 - shift)) >> 24);
  return acc;
#endif
}

#if defined(__x86_64__) && !defined(PLLAVA_DPBUSD)
// Element of the left operand. For products of int16 pairs, the values at even positions of a quad
// precede those at odd positions.
using Int8LhsElement = std::int16_t;

template <Index MR, Index V>
PLLAVA_VECTOR void accumulate_i16(VecI32 (&acc)[MR][V], const std::int16_t* a,
                                  const VecI32 (&rhs)[V]) {
#pragma GCC unroll 16
  for (Index r = 0; r < MR; ++r) {
    const VecI32 lhs = broadcast_i32(a + 2 * r);
#pragma GCC unroll 8
    for (Index v = 0; v < V; ++v) acc[r][v] = dot_i16_pairs(acc[r][v], lhs, rhs[v]);
#pragma GCC unroll 8
    for (Index v = 0; v < V; ++v) keep_in_register(acc[r][v]);
  }
}

/// acc += the product of four k.
template <Index MR, Index V>
PLLAVA_VECTOR void accumulate_quad(VecI32 (&acc)[MR][V], const std::int16_t* a,
                                   const std::uint8_t* b) {
  VecI32 rhs[V];
#pragma GCC unroll 8
  for (Index v = 0; v < V; ++v) rhs[v] = even_bytes(load_i32(b + 4 * v * kLanes));
  accumulate_i16(acc, a, rhs);
  compiler_barrier();
#pragma GCC unroll 8
  for (Index v = 0; v < V; ++v) rhs[v] = odd_bytes(load_i32(b + 4 * v * kLanes));
  accumulate_i16(acc, a + 2 * MR, rhs);
}
#else
using Int8LhsElement = std::int8_t;  // element of the left operand

/// acc += the product of four k.
template <Index MR, Index V>
PLLAVA_VECTOR void accumulate_quad(VecI32 (&acc)[MR][V], const std::int8_t* a,
                                   const std::uint8_t* b) {
  VecI32 rhs[V];
#pragma GCC unroll 8
  for (Index v = 0; v < V; ++v) rhs[v] = dot_operand(load_i32(b + 4 * v * kLanes));
#pragma GCC unroll 16
  for (Index r = 0; r < MR; ++r) {
    const VecI32 lhs = broadcast_i32(a + 4 * r);
#pragma GCC unroll 8
    for (Index v = 0; v < V; ++v) acc[r][v] = dot_i8_quads(acc[r][v], rhs[v], lhs);
  }
}
#endif

/// One row of c, V · kLanes columns: sum · channel scale · row scale.
template <Index V>
PLLAVA_VECTOR void store_scaled(float* c, const VecI32 (&sums)[V], const float* channel_scales,
                                float row_scale) {
#pragma GCC unroll 8
  for (Index v = 0; v < V; ++v)
    store(c + v * kLanes,
          __builtin_convertvector(sums[v], VecF32) * load(channel_scales + v * kLanes) * row_scale);
}

template <Index MR, Index V, Index U>
void micro_kernel_int8(const Int8Lhs& a, const QuantizedPanel& b, Index quads, Index column,
                       float* c) {
  VecI32 acc[U][MR][V] = {};
  const auto* lhs = static_cast<const Int8LhsElement*>(a.values);
  const std::uint8_t* panel = b.values + column * 4;
  for (Index i = 0; i < quads; i += U) {
#pragma GCC unroll 4
    for (Index u = 0; u < U; ++u) {
      const std::uint8_t* rhs = panel + (i + u) * 4 * kPanelWidth;
      __builtin_prefetch(rhs + 64 * kPanelWidth);
      __builtin_prefetch(rhs + 64 * kPanelWidth + 2 * kPanelWidth);
      accumulate_quad(acc[u], lhs + (i + u) * MR * 4, rhs);
    }
  }
#pragma GCC unroll 16
  for (Index r = 0; r < MR; ++r) {
    const std::int32_t correction = kPanelZeroPoint * a.sums[quads / 8 * MR + r];
#pragma GCC unroll 8
    for (Index v = 0; v < V; ++v) {
      acc[0][r][v] -= correction;
#pragma GCC unroll 4
      for (Index u = 1; u < U; ++u) acc[0][r][v] += acc[u][r][v];
    }
    store_scaled(c + r * kPanelWidth, acc[0][r], b.channel_scales + column, a.scales[r]);
  }
}

void tile_int8(Index rows, const Int8Lhs& a, const QuantizedPanel& b, Index quads, float* c) {
  with_tile_shape(rows, [&]<Index MR, Index V, Index U> {
    for (Index n = 0; n < kPanelWidth; n += V * kLanes)
      micro_kernel_int8<MR, V, U>(a, b, quads, n, c + n);
  });
}

/// `table` with these kernels.
constexpr Kernels with_int8(Kernels table) {
  table.int8_lhs_bytes = sizeof(Int8LhsElement);
  table.tile_int8 = tile_int8;
  return table;
}
