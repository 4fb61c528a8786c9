// The vectors of one instruction set: GCC vector types of PLLAVA_LANES floats. cpu_kernels_inl.hpp
// includes this file, and behind it those with the kernels, inside a namespace and a target region
// for each instruction set. No include guards in these files, on purpose.

constexpr Index W = PLLAVA_LANES;  // floats in a vector
using vf = float __attribute__((vector_size(PLLAVA_LANES * 4)));
using vi = std::int32_t __attribute__((vector_size(PLLAVA_LANES * 4)));
using vh = std::uint16_t __attribute__((vector_size(PLLAVA_LANES * 2)));
using vb = std::int8_t __attribute__((vector_size(PLLAVA_LANES)));
using vub = std::uint8_t __attribute__((vector_size(PLLAVA_LANES)));
using vs = std::int16_t __attribute__((vector_size(PLLAVA_LANES * 4)));
using vu = std::uint16_t __attribute__((vector_size(PLLAVA_LANES * 4)));

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
PLLAVA_VECTOR vf load(const std::int8_t* p) {
  return __builtin_convertvector(widen(p), vf);
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
  return mask ? a : b;
}
/// The larger of both; b where one is not a number.
PLLAVA_VECTOR vf larger(vf a, vf b) {
#if defined(__x86_64__) && PLLAVA_LANES == 16
  return (vf)_mm512_maskz_max_ps(0xffff, (__m512)a, (__m512)b);
#elif defined(__x86_64__) && PLLAVA_LANES == 8
  return (vf)_mm256_max_ps((__m256)a, (__m256)b);
#else
  return a > b ? a : b;
#endif
}
PLLAVA_VECTOR vf magnitude(vf v) {
  return as_float(as_int(v) & 0x7fffffff);
}
PLLAVA_VECTOR float largest(vf v) {
  float top = v[0];
  for (Index i = 1; i < W; ++i) top = v[i] > top ? v[i] : top;
  return top;
}
PLLAVA_VECTOR float sum(vf v) {
  float s = 0;
  for (Index i = 0; i < W; ++i) s += v[i];
  return s;
}

constexpr Index kMaxRows = W == 16 ? 14 : 6;
constexpr Index kLine = kPanel / W;                 // vectors in a line of a panel
constexpr Index kHalfLine = kLine < 4 ? kLine : 4;  // the same, or half of it where they are short

/// Calls product<MR, V, U>() in the shape for so many rows: MR rows by V vectors of columns, which
/// the product repeats until a panel is done, with U sums of each along k. Many rows are limited by
/// arithmetic, so their sums fill the registers. Few are limited by memory: they take whole lines
/// of the panel, with 8 sums to fill the pipelines.
template <class Product>
void with_shape(Index rows, const Product& product) {
  switch (rows) {
    case 1: return product.template operator()<1, kLine, 8 / kLine>();
    case 2: return product.template operator()<2, kHalfLine, 4 / kHalfLine>();
    case 4: return product.template operator()<4, 2, 1>();
#if PLLAVA_LANES == 16
    case 8: return product.template operator()<8, 2, 1>();
#endif
    default: return product.template operator()<kMaxRows, 2, 1>();
  }
}

/// c (MR, V · W) of a panel = the U sums of each column.
template <Index U, Index MR, Index V>
PLLAVA_VECTOR void store_sums(float* c, vf (&acc)[U][MR][V]) {
#pragma GCC unroll 16
  for (Index r = 0; r < MR; ++r)
#pragma GCC unroll 8
    for (Index v = 0; v < V; ++v) {
#pragma GCC unroll 4
      for (Index u = 1; u < U; ++u) acc[0][r][v] += acc[u][r][v];
      store(c + r * kPanel + v * W, acc[0][r][v]);
    }
}
