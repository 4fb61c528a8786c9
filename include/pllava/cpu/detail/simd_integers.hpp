// Products of 8-bit integers and of nibbles: of quads of bytes, where the machine multiplies them
// (PLLAVA_DPBUSD, PLLAVA_SDOT). See simd_base.hpp.

/// Bytes of an int8 panel as products take them: what they stand for, and kPanelZero more.
#if defined(PLLAVA_SDOT)
constexpr std::int32_t kPanelZero = 0;
PLLAVA_VECTOR vi panel_bytes(vi w) {
  return w ^ (std::int32_t)0x80808080;
}
#else
constexpr std::int32_t kPanelZero = 128;
PLLAVA_VECTOR vi panel_bytes(vi w) {
  return w;
}
#endif

#if defined(__x86_64__)
/// acc += in each lane, the dot product of a pair of 16-bit integers.
PLLAVA_VECTOR vi dot_halves(vi acc, vi a, vi b) {
#if PLLAVA_LANES == 16
  return acc + (vi)_mm512_madd_epi16((__m512i)a, (__m512i)b);
#elif PLLAVA_LANES == 8
  return acc + (vi)_mm256_madd_epi16((__m256i)a, (__m256i)b);
#else
  return acc + (vi)_mm_madd_epi16((__m128i)a, (__m128i)b);
#endif
}
/// The bytes of even and of odd places, which are not negative, widened to 16 bits.
PLLAVA_VECTOR vi even_bytes(vi w) {
  return w & 0x00ff00ff;
}
PLLAVA_VECTOR vi odd_bytes(vi w) {
  return (vi)((vu)w >> 8);
}
#endif

/// acc += in each lane, the dot product of 4 bytes of w, panel_bytes() or nibbles, with 4 signed
/// bytes of a.
PLLAVA_VECTOR vi dot_quads(vi acc, vi w, vi a) {
#if defined(PLLAVA_SDOT)
  // clang declares the intrinsic only where the whole file is built for such a machine.
  __asm__("sdot %0.4s, %1.16b, %2.16b" : "+w"(acc) : "w"(w), "w"(a));
  return acc;
#elif defined(PLLAVA_DPBUSD) && PLLAVA_LANES == 16
  return (vi)_mm512_dpbusd_epi32((__m512i)acc, (__m512i)w, (__m512i)a);
#elif defined(PLLAVA_DPBUSD)
  return (vi)_mm256_dpbusd_avx_epi32((__m256i)acc, (__m256i)w, (__m256i)a);
#elif defined(__x86_64__)
  acc = dot_halves(acc, even_bytes(w), (vi)((vs)((vu)a << 8) >> 8));
  return dot_halves(acc, odd_bytes(w), (vi)((vs)a >> 8));
#else
  for (int shift = 0; shift < 32; shift += 8)
    acc += ((w >> shift) & 0xff) * ((a << (24 - shift)) >> 24);
  return acc;
#endif
}

// The left operand of an int8 product. Where the machine has no products of bytes it holds 16 bits,
// those of even places before those of odd ones.
#if defined(__x86_64__) && !defined(PLLAVA_DPBUSD)
using Int8Left = std::int16_t;

template <Index MR, Index V>
PLLAVA_VECTOR void add_halves(vi (&acc)[MR][V], const std::int16_t* a, const vi (&line)[V]) {
#pragma GCC unroll 16
  for (Index r = 0; r < MR; ++r) {
    const vi left = splat_word(a + 2 * r);
#pragma GCC unroll 8
    for (Index v = 0; v < V; ++v) acc[r][v] = dot_halves(acc[r][v], left, line[v]);
#pragma GCC unroll 8
    for (Index v = 0; v < V; ++v) pin(acc[r][v]);
  }
}

template <Index MR, Index V>
PLLAVA_VECTOR void add_quad(vi (&acc)[MR][V], const std::int16_t* a, const std::uint8_t* b) {
  vi line[V];
#pragma GCC unroll 8
  for (Index v = 0; v < V; ++v) line[v] = even_bytes(load_words(b + 4 * v * W));
  add_halves(acc, a, line);
  forget();
#pragma GCC unroll 8
  for (Index v = 0; v < V; ++v) line[v] = odd_bytes(load_words(b + 4 * v * W));
  add_halves(acc, a + 2 * MR, line);
}
#else
using Int8Left = std::int8_t;

template <Index MR, Index V>
PLLAVA_VECTOR void add_quad(vi (&acc)[MR][V], const std::int8_t* a, const std::uint8_t* b) {
  vi line[V];
#pragma GCC unroll 8
  for (Index v = 0; v < V; ++v) line[v] = panel_bytes(load_words(b + 4 * v * W));
#pragma GCC unroll 16
  for (Index r = 0; r < MR; ++r) {
    const vi left = splat_word(a + 4 * r);
#pragma GCC unroll 8
    for (Index v = 0; v < V; ++v) acc[r][v] = dot_quads(acc[r][v], line[v], left);
  }
}
#endif

/// c (V · W) of a row = sum · scale of the column · scale of the row.
template <Index V>
PLLAVA_VECTOR void store_scaled(float* c, const vi (&sums)[V], const float* columns, float row) {
#pragma GCC unroll 8
  for (Index v = 0; v < V; ++v)
    store(c + v * W, __builtin_convertvector(sums[v], vf) * load(columns + v * W) * row);
}

template <Index MR, Index V, Index U>
void columns_int8(const Int8Rows& a, const IntegerPanel& b, Index quads, Index column, float* c) {
  vi acc[U][MR][V] = {};
  const auto* left = static_cast<const Int8Left*>(a.values);
  const std::uint8_t* right = b.values + column * 4;
  for (Index i = 0; i < quads; i += U) {
#pragma GCC unroll 4
    for (Index u = 0; u < U; ++u) {
      const std::uint8_t* line = right + (i + u) * 4 * kPanel;
      __builtin_prefetch(line + 64 * kPanel);
      __builtin_prefetch(line + 64 * kPanel + 2 * kPanel);
      add_quad(acc[u], left + (i + u) * MR * 4, line);
    }
  }
#pragma GCC unroll 16
  for (Index r = 0; r < MR; ++r) {
    const std::int32_t shift = kPanelZero * a.sums[quads / 8 * MR + r];
#pragma GCC unroll 8
    for (Index v = 0; v < V; ++v) {
      acc[0][r][v] -= shift;
#pragma GCC unroll 4
      for (Index u = 1; u < U; ++u) acc[0][r][v] += acc[u][r][v];
    }
    store_scaled(c + r * kPanel, acc[0][r], b.scales + column, a.scales[r]);
  }
}

void tile_int8(Index rows, const Int8Rows& a, const IntegerPanel& b, Index quads, float* c) {
  with_shape(rows, [&]<Index MR, Index V, Index U> {
    for (Index n = 0; n < kPanel; n += V * W) columns_int8<MR, V, U>(a, b, quads, n, c + n);
  });
}

/// The same 16 bits in both halves of a lane.
PLLAVA_VECTOR vs twice(vi v) {
  return (vs)((v & 0xffff) | (v << 16));
}

// Sums over 32 nibbles of a column, less their zero. Where the machine multiplies bytes to sums of
// 16 bits, they are two in a lane, each of 16 products, so of at most 16 · 15 · 127; what leaves 16
// bits on the way there comes back. Else they are one of 32 bits. `pair` is of Int8Rows::sums.
#if defined(__x86_64__) && PLLAVA_LANES >= 8 && !defined(PLLAVA_DPBUSD)
constexpr bool kFastInt4 = true;
using NibbleSums = vu;
PLLAVA_VECTOR vu begin_sums(vi pair, vi zero) {
  return (vu)pair * (vu)twice(-zero);
}
PLLAVA_VECTOR vu add_nibbles(vu acc, vi w, vi a) {
#if PLLAVA_LANES == 16
  return acc + (vu)_mm512_maddubs_epi16((__m512i)w, (__m512i)a);
#else
  return acc + (vu)_mm256_maddubs_epi16((__m256i)w, (__m256i)a);
#endif
}
PLLAVA_VECTOR vi add_sums(vi acc, vu sums, vi multiplier) {
  return dot_halves(acc, (vi)sums, (vi)twice(multiplier));
}
#else
constexpr bool kFastInt4 = false;
using NibbleSums = vi;
PLLAVA_VECTOR vi begin_sums(vi pair, vi zero) {
  return -zero * ((pair << 16 >> 16) + (pair >> 16));
}
PLLAVA_VECTOR vi add_nibbles(vi acc, vi w, vi a) {
  return dot_quads(acc, w, a);
}
PLLAVA_VECTOR vi add_sums(vi acc, vi sums, vi multiplier) {
  return acc + sums * multiplier;
}
#endif

/// sums += four lines of the panel, 8 nibbles of each column each, times their integers.
template <Index MR, Index V>
PLLAVA_VECTOR void add_lines(NibbleSums (&sums)[MR][V], const std::int8_t* a,
                             const std::uint8_t* line) {
  constexpr std::int32_t kLow = 0x0f0f0f0f;
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i, line += 4 * kPanel, a += 8 * MR) {
    __builtin_prefetch(line + 64 * kPanel);
    __builtin_prefetch(line + 64 * kPanel + 2 * kPanel);
    vi low[V], high[V];
#pragma GCC unroll 8
    for (Index v = 0; v < V; ++v) {
      const vi bytes = load_words(line + 4 * v * W);
      low[v] = bytes & kLow;
      high[v] = (bytes >> 4) & kLow;
    }
    const auto add = [&](Index r, const vi(&nibbles)[V], vi left) __attribute__((always_inline)) {
#pragma GCC unroll 8
      for (Index v = 0; v < V; ++v) sums[r][v] = add_nibbles(sums[r][v], nibbles[v], left);
#pragma GCC unroll 8
      for (Index v = 0; v < V; ++v) pin(sums[r][v]);
    };
#pragma GCC unroll 4
    for (Index r = 0; r < MR; ++r) {
      const vi first = splat_word(a + 4 * r), second = splat_word(a + 4 * (MR + r));
      add(r, low, first);
      add(r, high, second);
    }
  }
}

template <Index MR, Index V>
void columns_int4(const Int8Rows& a, const IntegerPanel& b, Index quads, Index group, Index column,
                  float* c) {
  vi total[MR][V] = {};
  const auto* left = static_cast<const std::int8_t*>(a.values);
  const std::uint8_t* line = b.values + column * 4;
  const std::int32_t* pairs = a.sums;
  for (Index g = 0; g < quads * 4 / group; ++g) {
    vi multipliers[V], zeros[V];
#pragma GCC unroll 8
    for (Index v = 0; v < V; ++v) {
      const Index at = g * kPanel + column + v * W;
      multipliers[v] = widen(b.multipliers + at);
      zeros[v] = b.zeros != nullptr ? widen(b.zeros + at) : kSymmetricZeroPoint - vi{};
    }
    for (Index k = 0; k < group; k += 32, left += 32 * MR, line += 16 * kPanel, pairs += MR) {
      NibbleSums sums[MR][V];
#pragma GCC unroll 4
      for (Index r = 0; r < MR; ++r) {
        const vi pair = splat_word(pairs + r);
#pragma GCC unroll 8
        for (Index v = 0; v < V; ++v) sums[r][v] = begin_sums(pair, zeros[v]);
      }
      add_lines(sums, left, line);
#pragma GCC unroll 4
      for (Index r = 0; r < MR; ++r)
#pragma GCC unroll 8
        for (Index v = 0; v < V; ++v)
          total[r][v] = add_sums(total[r][v], sums[r][v], multipliers[v]);
    }
  }
#pragma GCC unroll 4
  for (Index r = 0; r < MR; ++r)
    store_scaled(c + r * kPanel, total[r], b.scales + column, a.scales[r]);
}

void tile_int4(Index rows, const Int8Rows& a, const IntegerPanel& b, Index quads, Index group,
               float* c) {
  const auto product = [&]<Index MR, Index V> {
    for (Index n = 0; n < kPanel; n += V * W) columns_int4<MR, V>(a, b, quads, group, n, c + n);
  };
  switch (rows) {
    case 1: return product.template operator()<1, kHalfLine>();
    case 2: return product.template operator()<2, 2>();
    default: return product.template operator()<kInt4Rows, 2>();
  }
}

void unpack_int4(std::uint8_t* panel, const IntegerPanel& b, Index quads, Index group) {
  // In each half of a lane: nibble · multiplier + (128 - zero · multiplier), which fits a byte.
  for (Index n = 0; n < kPanel; n += W)
    for (Index begin = 0; begin < quads; begin += group / 4) {
      const Index g = begin * 4 / group;
      const vi m = widen(b.multipliers + g * kPanel + n);
      const vi z =
          b.zeros != nullptr ? widen(b.zeros + g * kPanel + n) : kSymmetricZeroPoint - vi{};
      const vs factor = twice(m), offset = twice(128 - z * m);
      const auto bytes = [&](vs nibbles) __attribute__((always_inline)) {
        const vs even = (nibbles & 0x0f) * factor + offset;
        const vs odd = ((nibbles >> 8) & 0x0f) * factor + offset;
        return (vi)(vs)((vu)(even & 0xff) | ((vu)odd << 8));
      };
      for (Index i = begin; i < begin + group / 4; i += 2) {
        const vs packed = (vs)load_words(b.values + (i / 2 * kPanel + n) * 4);
        const vi low = bytes(packed), high = bytes((vs)((vu)packed >> 4));
        __builtin_memcpy(panel + (i * kPanel + n) * 4, &low, sizeof low);
        __builtin_memcpy(panel + ((i + 1) * kPanel + n) * 4, &high, sizeof high);
      }
    }
}

/// A table with these products.
constexpr Kernels with_integers(Kernels table) {
  table.int8_left = sizeof(Int8Left);
  table.fast_int4 = kFastInt4;
  table.tile_int8 = tile_int8;
  table.tile_int4 = tile_int4;
  table.unpack_int4 = unpack_int4;
  return table;
}
