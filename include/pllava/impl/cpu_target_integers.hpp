// Products of 8-bit integers and of nibbles: of quads of bytes, where the machine multiplies them
// (PLLAVA_DPBUSD, PLLAVA_SDOT). See cpu_target.hpp.

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

template <Index MR>
PLLAVA_VECTOR void add_halves(vi (&acc)[MR][2], const std::int16_t* a, vi b0, vi b1) {
#pragma GCC unroll 16
  for (Index r = 0; r < MR; ++r) {
    const vi v = splat_word(a + 2 * r);
    acc[r][0] = dot_halves(acc[r][0], v, b0);
    acc[r][1] = dot_halves(acc[r][1], v, b1);
    pin(acc[r][0]);
    pin(acc[r][1]);
  }
}

template <Index MR>
PLLAVA_VECTOR void add_quad(vi (&acc)[MR][2], const std::int16_t* a, const std::uint8_t* b) {
  add_halves<MR>(acc, a, even_bytes(load_words(b)), even_bytes(load_words(b + 4 * W)));
  forget();
  add_halves<MR>(acc, a + 2 * MR, odd_bytes(load_words(b)), odd_bytes(load_words(b + 4 * W)));
}
#else
using Int8Left = std::int8_t;

template <Index MR>
PLLAVA_VECTOR void add_quad(vi (&acc)[MR][2], const std::int8_t* a, const std::uint8_t* b) {
  const vi b0 = panel_bytes(load_words(b)), b1 = panel_bytes(load_words(b + 4 * W));
#pragma GCC unroll 16
  for (Index r = 0; r < MR; ++r) {
    const vi v = splat_word(a + 4 * r);
    acc[r][0] = dot_quads(acc[r][0], b0, v);
    acc[r][1] = dot_quads(acc[r][1], b1, v);
  }
}
#endif

/// c = sum · scale of the column · scale of the row, for 2W columns.
PLLAVA_VECTOR void store_scaled(float* c, vi sum0, vi sum1, const float* columns, float row) {
  store(c, __builtin_convertvector(sum0, vf) * load(columns) * row);
  store(c + W, __builtin_convertvector(sum1, vf) * load(columns + W) * row);
}

template <Index MR, Index U>
void columns_int8(const Int8Rows& a, const IntegerPanel& b, Index quads, Index column, float* c) {
  vi acc[U][MR][2] = {};
  const auto* left = static_cast<const Int8Left*>(a.values);
  const std::uint8_t* right = b.values + column * 4;
  for (Index i = 0; i < quads; i += U) {
#pragma GCC unroll 4
    for (Index u = 0; u < U; ++u) {
      const std::uint8_t* line = right + (i + u) * 4 * kPanel;
      __builtin_prefetch(line + 64 * kPanel);
      __builtin_prefetch(line + 64 * kPanel + 2 * kPanel);
      add_quad<MR>(acc[u], left + (i + u) * MR * 4, line);
    }
  }
#pragma GCC unroll 16
  for (Index r = 0; r < MR; ++r) {
    const vi shift = kPanelZero * a.sums[quads / 8 * MR + r] - vi{};
    vi sum0 = acc[0][r][0] - shift, sum1 = acc[0][r][1] - shift;
#pragma GCC unroll 4
    for (Index u = 1; u < U; ++u) sum0 += acc[u][r][0], sum1 += acc[u][r][1];
    store_scaled(c + r * kPanel, sum0, sum1, b.scales + column, a.scales[r]);
  }
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
template <Index MR>
PLLAVA_VECTOR void add_lines(NibbleSums (&sums)[MR][2], const std::int8_t* a,
                             const std::uint8_t* line) {
  constexpr std::int32_t kLow = 0x0f0f0f0f;
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i, line += 4 * kPanel, a += 8 * MR) {
    __builtin_prefetch(line + 64 * kPanel);
    __builtin_prefetch(line + 64 * kPanel + 2 * kPanel);
    const vi b0 = load_words(line), b1 = load_words(line + 4 * W);
    const vi low0 = b0 & kLow, low1 = b1 & kLow, high0 = (b0 >> 4) & kLow, high1 = (b1 >> 4) & kLow;
#pragma GCC unroll 4
    for (Index r = 0; r < MR; ++r) {
      const vi v = splat_word(a + 4 * r), w = splat_word(a + 4 * (MR + r));
      sums[r][0] = add_nibbles(sums[r][0], low0, v);
      sums[r][1] = add_nibbles(sums[r][1], low1, v);
      pin(sums[r][0]);
      pin(sums[r][1]);
      sums[r][0] = add_nibbles(sums[r][0], high0, w);
      sums[r][1] = add_nibbles(sums[r][1], high1, w);
      pin(sums[r][0]);
      pin(sums[r][1]);
    }
  }
}

template <Index MR>
void columns_int4(const Int8Rows& a, const IntegerPanel& b, Index quads, Index group, Index column,
                  float* c) {
  vi total[MR][2] = {};
  const auto* left = static_cast<const std::int8_t*>(a.values);
  const std::uint8_t* line = b.values + column * 4;
  const std::int32_t* pairs = a.sums;
  for (Index g = 0; g < quads * 4 / group; ++g) {
    const vi m0 = widen(b.multipliers + g * kPanel + column);
    const vi m1 = widen(b.multipliers + g * kPanel + column + W);
    vi z0 = kMiddle - vi{}, z1 = z0;
    if (b.zeros != nullptr) {
      z0 = widen(b.zeros + g * kPanel + column);
      z1 = widen(b.zeros + g * kPanel + column + W);
    }
    for (Index k = 0; k < group; k += 32, left += 32 * MR, line += 16 * kPanel, pairs += MR) {
      NibbleSums sums[MR][2];
#pragma GCC unroll 4
      for (Index r = 0; r < MR; ++r) {
        const vi pair = splat_word(pairs + r);
        sums[r][0] = begin_sums(pair, z0);
        sums[r][1] = begin_sums(pair, z1);
      }
      add_lines<MR>(sums, left, line);
#pragma GCC unroll 4
      for (Index r = 0; r < MR; ++r) {
        total[r][0] = add_sums(total[r][0], sums[r][0], m0);
        total[r][1] = add_sums(total[r][1], sums[r][1], m1);
      }
    }
  }
#pragma GCC unroll 4
  for (Index r = 0; r < MR; ++r)
    store_scaled(c + r * kPanel, total[r][0], total[r][1], b.scales + column, a.scales[r]);
}

void unpack_int4(std::uint8_t* panel, const IntegerPanel& b, Index quads, Index group) {
  // In each half of a lane: nibble · multiplier + (128 - zero · multiplier), which fits a byte.
  for (Index n = 0; n < kPanel; n += W)
    for (Index begin = 0; begin < quads; begin += group / 4) {
      const Index g = begin * 4 / group;
      const vi m = widen(b.multipliers + g * kPanel + n);
      const vi z = b.zeros != nullptr ? widen(b.zeros + g * kPanel + n) : kMiddle - vi{};
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

void tile_int8(Index rows, const Int8Rows& a, const IntegerPanel& b, Index quads, float* c) {
  for (Index n = 0; n < kPanel; n += 2 * W) switch (rows) {
      case 1: columns_int8<1, 4>(a, b, quads, n, c + n); break;
      case 2: columns_int8<2, 2>(a, b, quads, n, c + n); break;
      case 4: columns_int8<4, 1>(a, b, quads, n, c + n); break;
#if PLLAVA_LANES == 16
      case 8: columns_int8<8, 1>(a, b, quads, n, c + n); break;
      default: columns_int8<14, 1>(a, b, quads, n, c + n); break;
#else
      default: columns_int8<6, 1>(a, b, quads, n, c + n); break;
#endif
    }
}

void tile_int4(Index rows, const Int8Rows& a, const IntegerPanel& b, Index quads, Index group,
               float* c) {
  for (Index n = 0; n < kPanel; n += 2 * W) switch (rows) {
      case 1: columns_int4<1>(a, b, quads, group, n, c + n); break;
      case 2: columns_int4<2>(a, b, quads, group, n, c + n); break;
      default: columns_int4<kInt4Rows>(a, b, quads, group, n, c + n); break;
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
