// The kernels themselves, written once over GCC vector types. cpu_kernels_inl.hpp includes this
// file once per instruction set, inside a namespace and a target region, with PLLAVA_LANES set (and
// PLLAVA_DPBF16 where the machine multiplies bf16 pairs). No include guard on purpose.

constexpr Index W = PLLAVA_LANES;  // floats in a vector
using vf = float __attribute__((vector_size(PLLAVA_LANES * 4)));
using vi = std::int32_t __attribute__((vector_size(PLLAVA_LANES * 4)));
using vh = std::uint16_t __attribute__((vector_size(PLLAVA_LANES * 2)));
using vb = std::int8_t __attribute__((vector_size(PLLAVA_LANES)));
using vub = std::uint8_t __attribute__((vector_size(PLLAVA_LANES)));

PLLAVA_VECTOR vf splat(float v) {
  return v - vf{};
}
/// Says that `v` is wanted in a register here. GCC otherwise renames sums in long loops until some
/// of them no longer fit.
template <class V>
PLLAVA_VECTOR void pin(V& v) {
#if defined(__x86_64__)
  __asm__("" : "+v"(v));
#elif defined(__aarch64__)
  __asm__("" : "+w"(v));
#endif
}
/// Says that memory may have changed: what was read before is read again, not kept in registers.
PLLAVA_VECTOR void forget() {
  __asm__ volatile("" ::: "memory");
}
PLLAVA_VECTOR vf load(const float* p) {
  vf v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
PLLAVA_VECTOR void store(float* p, vf v) {
  __builtin_memcpy(p, &v, sizeof v);
}
PLLAVA_VECTOR vf as_float(vi v) {
  vf f;
  __builtin_memcpy(&f, &v, sizeof f);
  return f;
}
PLLAVA_VECTOR vi as_int(vf v) {
  vi i;
  __builtin_memcpy(&i, &v, sizeof i);
  return i;
}
PLLAVA_VECTOR vf load(const bf16* p) {
  vh h;
  __builtin_memcpy(&h, p, sizeof h);
  return as_float(__builtin_convertvector(h, vi) << 16);
}
PLLAVA_VECTOR void store(bf16* p, vf v) {
  const vi u = as_int(v);
  vi rounded = u + 0x7fff + ((u >> 16) & 1);
  const vi is_nan = (u & 0x7fffffff) > 0x7f800000;
  rounded = (is_nan & (u | 0x400000)) | (~is_nan & rounded);
  const vh h = __builtin_convertvector((rounded >> 16) & 0xffff, vh);
  __builtin_memcpy(static_cast<void*>(p), &h, sizeof h);
}
PLLAVA_VECTOR vi load_words(const void* p) {
  vi v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
PLLAVA_VECTOR vi splat_word(const void* p) {
  std::int32_t v;
  __builtin_memcpy(&v, p, 4);
  return v - vi{};
}
/// W bytes as integers, and back. GCC takes vectors of less than 16 bytes apart, hence the
/// intrinsics.
PLLAVA_VECTOR vi widen(const std::uint8_t* p) {
#if defined(__x86_64__) && PLLAVA_LANES == 8
  return (vi)_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
#else
  vub b;
  __builtin_memcpy(&b, p, sizeof b);
  return __builtin_convertvector(b, vi);
#endif
}
PLLAVA_VECTOR vi widen(const std::int8_t* p) {
#if defined(__x86_64__) && PLLAVA_LANES == 8
  return (vi)_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
#else
  vb b;
  __builtin_memcpy(&b, p, sizeof b);
  return __builtin_convertvector(b, vi);
#endif
}
PLLAVA_VECTOR void narrow(std::int8_t* p, vi v) {
#if defined(__x86_64__) && PLLAVA_LANES == 8
  const __m128i halves =
      _mm_packs_epi32(_mm256_castsi256_si128((__m256i)v), _mm256_extracti128_si256((__m256i)v, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packs_epi16(halves, halves));
#else
  const vb b = __builtin_convertvector(v, vb);
  __builtin_memcpy(p, &b, sizeof b);
#endif
}
PLLAVA_VECTOR vf select(vi mask, vf a, vf b) {
  return as_float((mask & as_int(a)) | (~mask & as_int(b)));
}
PLLAVA_VECTOR float sum(vf v) {
  float s = 0;
  for (Index i = 0; i < W; ++i) s += v[i];
  return s;
}

/// exp(x), relative error about 1e-7; 0 below -87.3, clamped above 88.3.
PLLAVA_VECTOR vf exp(vf x) {
  const vi tiny = x < -87.3f;
  x = select(x > 88.3f, splat(88.3f), x);
  x = select(tiny, vf{}, x);
  const vf shifted = x * 1.44269504f + 12582912.0f;  // 1.5 · 2^23: rounds to an integer
  const vf n = shifted - 12582912.0f;
  const vf r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  vf p = r * 1.9875691500e-4f + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  const vi exponent = (as_int(shifted) - 0x4b400000 + 127) << 23;
  return select(tiny, vf{}, p * as_float(exponent));
}

/// erf(x), absolute error about 1e-7: series for |x| < 1, continued by 1 - exp(-x²)·P(1/(1+px)).
PLLAVA_VECTOR vf erf(vf x) {
  const vf a = select(x < 0.0f, -x, x);
  const vf s = x * x;
  vf near = s * 7.853861353e-5f - 8.010193625e-4f;
  near = near * s + 5.188327685e-3f;
  near = near * s - 2.685381193e-2f;
  near = near * s + 1.128358514e-1f;
  near = near * s - 3.761262582e-1f;
  near = (near * s + 1.128379165f) * x;
  const vf t = 1.0f / (a * 0.5f + 1.0f);
  vf q = t * 0.17087277f - 0.82215223f;  // erfc(a) = t·exp(-a² + Q(t)), after Chebyshev fitting
  q = q * t + 1.48851587f;
  q = q * t - 1.13520398f;
  q = q * t + 0.27886807f;
  q = q * t - 0.18628806f;
  q = q * t + 0.09678418f;
  q = q * t + 0.37409196f;
  q = q * t + 1.00002368f;
  q = q * t - 1.26551223f;
  const vf far = 1.0f - t * exp(q - s);
  return select(a < 1.0f, near, select(x < 0.0f, -far, far));
}

PLLAVA_VECTOR vf apply(Activation act, vf x) {
  switch (act) {
    case Activation::none: return x;
    case Activation::quick_gelu: return x / (1.0f + exp(x * -1.702f));
    case Activation::silu: return x / (1.0f + exp(-x));
    case Activation::gelu: return x * 0.5f * (1.0f + erf(x * 0.70710678f));
  }
  return x;
}

/// Calls f(vector index) over n elements; the tail goes through a padded copy by the caller's f.
struct Tail {
  float data[PLLAVA_LANES] = {};
};
PLLAVA_VECTOR vf load_part(const float* p, Index n) {
  Tail t;
  for (Index i = 0; i < n; ++i) t.data[i] = p[i];
  return load(t.data);
}
PLLAVA_VECTOR void store_part(float* p, vf v, Index n) {
  Tail t;
  store(t.data, v);
  for (Index i = 0; i < n; ++i) p[i] = t.data[i];
}

// ---- products -----------------------------------------------------------------------------------

/// c (MR, 2W) of a panel, `U` independent sums along k so that few rows still fill the pipelines.
template <Index MR, Index U>
void columns_f32(const float* a, Index stride, const float* b, Index k, float* c) {
  vf acc[U][MR][2] = {};
  Index i = 0;
  for (; i + U <= k; i += U) {
#pragma GCC unroll 4
    for (Index u = 0; u < U; ++u) {
      const vf b0 = load(b + (i + u) * kPanel), b1 = load(b + (i + u) * kPanel + W);
#pragma GCC unroll 16
      for (Index r = 0; r < MR; ++r) {
        const float v = a[(i + u) * stride + r];
        acc[u][r][0] += v * b0;
        acc[u][r][1] += v * b1;
      }
    }
  }
  for (; i < k; ++i)
    for (Index r = 0; r < MR; ++r) {
      acc[0][r][0] += a[i * stride + r] * load(b + i * kPanel);
      acc[0][r][1] += a[i * stride + r] * load(b + i * kPanel + W);
    }
#pragma GCC unroll 16
  for (Index r = 0; r < MR; ++r) {
#pragma GCC unroll 4
    for (Index u = 1; u < U; ++u) acc[0][r][0] += acc[u][r][0], acc[0][r][1] += acc[u][r][1];
    store(c + r * kPanel, acc[0][r][0]);
    store(c + r * kPanel + W, acc[0][r][1]);
  }
}

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
#pragma GCC unroll 16
  for (Index r = 0; r < MR; ++r) {
#pragma GCC unroll 4
    for (Index u = 1; u < U; ++u) acc[0][r][0] += acc[u][r][0], acc[0][r][1] += acc[u][r][1];
    store(c + r * kPanel, acc[0][r][0]);
    store(c + r * kPanel + W, acc[0][r][1]);
  }
}

// ---- products of integers -----------------------------------------------------------------------

using vs = std::int16_t __attribute__((vector_size(PLLAVA_LANES * 4)));
using vu = std::uint16_t __attribute__((vector_size(PLLAVA_LANES * 4)));

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
#elif defined(PLLAVA_DPBF16)
  return (vi)_mm512_dpbusd_epi32((__m512i)acc, (__m512i)w, (__m512i)a);
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
#if defined(__x86_64__) && !defined(PLLAVA_DPBF16)
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

// Sums over 32 nibbles of a column: in two lanes of 16 bits, which hold 16 products of at most
// 15 · 127 each, where the machine multiplies bytes to such, else in one of 32.
#if defined(__x86_64__) && PLLAVA_LANES >= 8 && !defined(PLLAVA_DPBF16)
using NibbleSums = vs;
PLLAVA_VECTOR vs add_nibbles(vs acc, vi w, vi a) {
#if PLLAVA_LANES == 16
  return acc + (vs)_mm512_maddubs_epi16((__m512i)w, (__m512i)a);
#else
  return acc + (vs)_mm256_maddubs_epi16((__m256i)w, (__m256i)a);
#endif
}
PLLAVA_VECTOR vi add_sums(vi acc, vs sums) {
  return dot_halves(acc, (vi)sums, 0x00010001 - vi{});
}
#else
using NibbleSums = vi;
PLLAVA_VECTOR vi add_nibbles(vi acc, vi w, vi a) {
  return dot_quads(acc, w, a);
}
PLLAVA_VECTOR vi add_sums(vi acc, vi sums) {
  return acc + sums;
}
#endif

/// acc += four lines of the panel, 8 nibbles of each column each, times their integers.
template <Index MR>
PLLAVA_VECTOR void add_lines(vi (&acc)[MR][2], const std::int8_t* a, const std::uint8_t* line) {
  constexpr std::int32_t kLow = 0x0f0f0f0f;
  NibbleSums sums[MR][2] = {};
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i, line += 4 * kPanel, a += 8 * MR) {
    const vi b0 = load_words(line), b1 = load_words(line + 4 * W);
    __builtin_prefetch(line + 64 * kPanel);
    __builtin_prefetch(line + 64 * kPanel + 2 * kPanel);
    const vi low0 = b0 & kLow, low1 = b1 & kLow, high0 = (b0 >> 4) & kLow, high1 = (b1 >> 4) & kLow;
#pragma GCC unroll 4
    for (Index r = 0; r < MR; ++r) {
      const vi v = splat_word(a + 4 * r), w = splat_word(a + 4 * (MR + r));
      sums[r][0] = add_nibbles(add_nibbles(sums[r][0], low0, v), high0, w);
      sums[r][1] = add_nibbles(add_nibbles(sums[r][1], low1, v), high1, w);
    }
  }
#pragma GCC unroll 4
  for (Index r = 0; r < MR; ++r) {
    acc[r][0] = add_sums(acc[r][0], sums[r][0]);
    acc[r][1] = add_sums(acc[r][1], sums[r][1]);
  }
}

template <Index MR>
void columns_int4(const Int8Rows& a, const IntegerPanel& b, Index quads, Index group, Index column,
                  float* c) {
  vi total[MR][2] = {};
  const auto* left = static_cast<const std::int8_t*>(a.values);
  const std::uint8_t* line = b.values + column * 4;
  for (Index begin = 0; begin < quads; begin += group / 4) {
    vi sum[MR][2] = {};
    for (Index i = begin; i < begin + group / 4; i += 8, line += 16 * kPanel)
      add_lines<MR>(sum, left + i * MR * 4, line);
    const Index g = begin * 4 / group;
    const vi m0 = widen(b.multipliers + g * kPanel + column);
    const vi m1 = widen(b.multipliers + g * kPanel + column + W);
    vi z0 = kMiddle - vi{}, z1 = z0;
    if (b.zeros != nullptr) {
      z0 = widen(b.zeros + g * kPanel + column);
      z1 = widen(b.zeros + g * kPanel + column + W);
    }
#pragma GCC unroll 4
    for (Index r = 0; r < MR; ++r) {
      std::int32_t of_group = 0;
      for (Index i = begin / 8; i < (begin + group / 4) / 8; ++i) of_group += a.sums[i * MR + r];
      total[r][0] += m0 * (sum[r][0] - z0 * of_group);
      total[r][1] += m1 * (sum[r][1] - z1 * of_group);
    }
  }
#pragma GCC unroll 4
  for (Index r = 0; r < MR; ++r)
    store_scaled(c + r * kPanel, total[r][0], total[r][1], b.scales + column, a.scales[r]);
}

void unpack_int4(std::uint8_t* panel, const IntegerPanel& b, Index quads, Index group) {
  // In each half of a lane: nibble · multiplier + (128 - zero · multiplier), which fits a byte.
  const auto twice = [](vi v) __attribute__((always_inline)) {
    return (vs)(v | (v << 16));
  };
  for (Index n = 0; n < kPanel; n += W)
    for (Index begin = 0; begin < quads; begin += group / 4) {
      const Index g = begin * 4 / group;
      const vi m = widen(b.multipliers + g * kPanel + n);
      const vi z = b.zeros != nullptr ? widen(b.zeros + g * kPanel + n) : kMiddle - vi{};
      const vs factor = twice(m), offset = twice((128 - z * m) & 0xffff);
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

constexpr Index kMaxRows = W == 16 ? 14 : 6;

Index packed_rows(Index rows) {
  if (rows <= 2) return rows;
  if (rows <= 4) return 4;
  if (W < 16) return 6;
  return rows <= 8 ? 8 : 14;
}

void tile_f32(Index rows, const float* a, Index stride, const float* b, Index k, float* c) {
  for (Index n = 0; n < kPanel; n += 2 * W) switch (rows) {
      case 1: columns_f32<1, 4>(a, stride, b + n, k, c + n); break;
      case 2: columns_f32<2, 2>(a, stride, b + n, k, c + n); break;
      case 4: columns_f32<4, 1>(a, stride, b + n, k, c + n); break;
#if PLLAVA_LANES == 16
      case 8: columns_f32<8, 1>(a, stride, b + n, k, c + n); break;
      default: columns_f32<14, 1>(a, stride, b + n, k, c + n); break;
#else
      default: columns_f32<6, 1>(a, stride, b + n, k, c + n); break;
#endif
    }
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
      default: columns_int4<4>(a, b, quads, group, n, c + n); break;
    }
}

// ---- rows ---------------------------------------------------------------------------------------

void bf16_to_float(float* dst, const bf16* src, Index n) {
  Index i = 0;
  for (; i + W <= n; i += W) store(dst + i, load(src + i));
  for (; i < n; ++i) dst[i] = to_float(src[i]);
}

void float_to_bf16(bf16* dst, const float* src, Index n) {
  Index i = 0;
  for (; i + W <= n; i += W) store(dst + i, load(src + i));
  for (; i < n; ++i) dst[i] = from_float<bf16>(src[i]);
}

void activate(float* x, Index n, Activation act) {
  if (act == Activation::none) return;
  Index i = 0;
  for (; i + W <= n; i += W) store(x + i, apply(act, load(x + i)));
  if (i < n) store_part(x + i, apply(act, load_part(x + i, n - i)), n - i);
}

void act_mul(float* gate, const float* up, Index n, Activation act) {
  Index i = 0;
  for (; i + W <= n; i += W) store(gate + i, apply(act, load(gate + i)) * load(up + i));
  if (i < n)
    store_part(gate + i, apply(act, load_part(gate + i, n - i)) * load_part(up + i, n - i), n - i);
}

void add(float* x, const float* y, Index n) {
  Index i = 0;
  for (; i + W <= n; i += W) store(x + i, load(x + i) + load(y + i));
  for (; i < n; ++i) x[i] += y[i];
}

void scale_add(float* x, float factor, const float* y, Index n) {
  Index i = 0;
  for (; i + W <= n; i += W) store(x + i, load(x + i) * factor + load(y + i));
  for (; i < n; ++i) x[i] = x[i] * factor + y[i];
}

float quantize_row(std::int8_t* q, const float* x, Index n) {
  vf highest{};
  Index i = 0;
  for (; i + W <= n; i += W) {
    const vf v = load(x + i), a = select(v < 0.0f, -v, v);
    highest = select(a > highest, a, highest);
  }
  float top = 0;
  for (Index lane = 0; lane < W; ++lane) top = highest[lane] > top ? highest[lane] : top;
  for (; i < n; ++i) {
    const float a = x[i] < 0 ? -x[i] : x[i];
    top = a > top ? a : top;
  }
  const float inverse = top > 0 ? 127.0f / top : 0.0f;
  const auto rounded = [&](vf v) __attribute__((always_inline)) {
    return as_int(v * inverse + 12582912.0f) - 0x4b400000;
  };
  for (i = 0; i + W <= n; i += W) narrow(q + i, rounded(load(x + i)));
  if (i < n) {
    const vi last = rounded(load_part(x + i, n - i));
    for (Index lane = 0; i < n; ++i, ++lane) q[i] = static_cast<std::int8_t>(last[lane]);
  }
  return top / 127.0f;
}

template <class T, Index kLine>
void widen_lines(T* dst, const std::int8_t* src, const float* factors, Index stride, Index lines) {
  for (Index l = 0; l < lines; ++l, dst += kLine, src += kLine, factors += stride)
    for (Index i = 0; i < kLine; i += W)
      store(dst + i, __builtin_convertvector(widen(src + i), vf) * load(factors + i));
}

/// Puts 32 weights of row r into the left operand of a tile.
PLLAVA_VECTOR void scatter(float* weights, Index stride, Index r, Index key, const float* row) {
  for (Index k = 0; k < kPanel; ++k) weights[(key + k) * stride + r] = row[k];
}
PLLAVA_VECTOR void scatter(bf16* weights, Index stride, Index r, Index key, const bf16* row) {
  for (Index k = 0; k < kPanel; k += 2)  // a pair at a time
    __builtin_memcpy(static_cast<void*>(weights + ((key + k) / 2 * stride + r) * 2), row + k, 4);
}

template <class T>
void softmax(const SoftmaxBlock& b, T* weights) {
  const float minus_infinity = -__builtin_inff();
  vi lane{};
  for (Index i = 0; i < W; ++i) lane[i] = static_cast<std::int32_t>(i);
  for (Index r = 0; r < b.rows; ++r) {
    const Index seen = b.seen[r];
    const auto score = [&](Index key) __attribute__((always_inline)) {  // of W keys
      const vf s = load(b.scores + key / kPanel * b.stride * kPanel + r * kPanel + key % kPanel);
      if (key + W <= seen) return s;
      return select(lane < static_cast<std::int32_t>(seen - key), s, splat(minus_infinity));
    };
    vf highest = splat(minus_infinity);
    for (Index key = 0; key < seen; key += W) {
      const vf s = score(key);
      highest = select(s > highest, s, highest);
    }
    float top = b.top[r];
    for (Index i = 0; i < W; ++i) top = highest[i] > top ? highest[i] : top;
    vf sum_of_lanes{};
    T line[kPanel] = {};
    Index key = 0;
    for (; key < seen; key += kPanel) {
      for (Index i = 0; i < kPanel; i += W) {
        const vf e = key + i < seen ? exp(score(key + i) - top) : vf{};
        sum_of_lanes += e;
        store(line + i, e);
      }
      scatter(weights, b.stride, r, key, line);
    }
    for (T& x : line) x = T{};
    for (; key < b.keys; key += kPanel) scatter(weights, b.stride, r, key, line);
    b.shrink[r] = seen > 0 ? exp(splat(b.top[r] - top))[0] : 1.0f;
    b.total[r] = b.total[r] * b.shrink[r] + sum(sum_of_lanes);
    b.top[r] = top;
  }
}

/// A line of weights: of one key in f32, half of that of a pair of keys in bf16.
PLLAVA_VECTOR void store_weights(float* weights, Index key, vf first, vf second) {
  store(weights + key * kPanel, first);
  store(weights + (key + 1) * kPanel, second);
}
PLLAVA_VECTOR void store_weights(bf16* weights, Index key, vf first, vf second) {
  // Weights are positive and finite, so adding half of the last place rounds them.
  const vi low = ((as_int(first) + 0x8000) >> 16) & 0xffff;
  const vi words = low | ((as_int(second) + 0x8000) & (std::int32_t)0xffff0000);
  __builtin_memcpy(static_cast<void*>(weights + key * kPanel), &words, sizeof words);
}

template <class T>
void softmax_columns(const SoftmaxColumns& b, T* weights) {
  constexpr Index kStep = std::is_same_v<T, bf16> ? 2 : 1;  // elements of a query in a line
  for (Index n = 0; n < kPanel; n += W) {
    const vi seen = load_words(b.seen + n);
    Index everyone = b.keys;  // how many keys all queries see
    for (Index i = n; i < n + W; ++i) everyone = b.seen[i] < everyone ? b.seen[i] : everyone;
    const auto score = [&](Index key) __attribute__((always_inline)) {
      const vf s = load(b.scores + key * kPanel + n);
      if (key < everyone) return s;
      return select(seen > static_cast<std::int32_t>(key), s, splat(-__builtin_inff()));
    };
    const vf before = load(b.top + n);
    vf highest[4] = {before, before, before, before};
    for (Index key = 0; key < b.keys; key += 4)
#pragma GCC unroll 4
      for (Index i = 0; i < 4; ++i) {
        const vf s = score(key + i);
        highest[i] = select(s > highest[i], s, highest[i]);
      }
    for (const Index i : {1, 2, 3})
      highest[0] = select(highest[i] > highest[0], highest[i], highest[0]);
    const vf top = highest[0], shrink = exp(before - top);
    vf total = load(b.total + n) * shrink, of_seconds{};
    for (Index key = 0; key < b.keys; key += 2) {
      const vf first = exp(score(key) - top), second = exp(score(key + 1) - top);
      total += first;
      of_seconds += second;
      store_weights(weights + n * kStep, key, first, second);
    }
    store(b.top + n, top);
    store(b.total + n, total + of_seconds);
    store(b.shrink + n, shrink);
  }
}

void scale_add_columns(float* x, const float* factors, const float* y, Index lines) {
  for (Index n = 0; n < kPanel; n += W) {
    const vf factor = load(factors + n);
    for (Index l = 0; l < lines; ++l) {
      float* line = x + l * kPanel + n;
      store(line, load(line) * factor + load(y + l * kPanel + n));
    }
  }
}

void split_pairs(float* dst, const bf16* src, Index pairs) {
  for (Index i = 0; i < pairs; ++i, src += 2 * kPanel, dst += 2 * kPanel)
    for (Index n = 0; n < kPanel; n += W) {
      const vi words = load_words(src + 2 * n);
      store(dst + n, as_float(words << 16));
      store(dst + kPanel + n, as_float(words & (std::int32_t)0xffff0000));
    }
}

void norm(float* y, const float* x, const float* gain, const float* bias, float eps, Index n,
          bool rms) {
  float mean = 0;
  Index i = 0;
  if (!rms) {
    vf t{};
    for (; i + W <= n; i += W) t += load(x + i);
    mean = sum(t);
    for (; i < n; ++i) mean += x[i];
    mean /= static_cast<float>(n);
  }
  vf t{};
  for (i = 0; i + W <= n; i += W) {
    const vf d = load(x + i) - mean;
    t += d * d;
  }
  float variance = sum(t);
  for (; i < n; ++i) variance += (x[i] - mean) * (x[i] - mean);
  const float inverse = 1.0f / __builtin_sqrtf(variance / static_cast<float>(n) + eps);
  for (i = 0; i + W <= n; i += W) {
    vf v = (load(x + i) - mean) * inverse * load(gain + i);
    if (bias != nullptr) v += load(bias + i);
    store(y + i, v);
  }
  for (; i < n; ++i) {
    const float v = (x[i] - mean) * inverse * gain[i];
    y[i] = bias != nullptr ? v + bias[i] : v;
  }
}

inline constexpr Kernels kTable = {PLLAVA_TARGET_NAME,
                                   kMaxRows,
                                   std::is_same_v<Bf16Left, bf16> ? DType::bf16 : DType::f32,
                                   sizeof(Int8Left),
                                   packed_rows,
                                   tile_f32,
                                   tile_bf16,
                                   tile_int8,
                                   tile_int4,
                                   unpack_int4,
                                   quantize_row,
                                   bf16_to_float,
                                   float_to_bf16,
                                   activate,
                                   act_mul,
                                   add,
                                   softmax<float>,
                                   softmax<bf16>,
                                   softmax_columns<float>,
                                   softmax_columns<bf16>,
                                   scale_add_columns,
                                   split_pairs,
                                   widen_lines<float, kPanel>,
                                   widen_lines<bf16, 2 * kPanel>,
                                   scale_add,
                                   norm};
