// Vector types and helpers of one instruction set: GCC vector types of PLLAVA_LANES floats.
// kernels_inl.hpp includes this file and the simd_*.hpp files after it once for each instruction
// set, inside a namespace and a target region. For this reason they have no include guards.

constexpr Index kLanes = PLLAVA_LANES;  // floats in a vector
using VecF32 = float __attribute__((vector_size(PLLAVA_LANES * 4)));
using VecI32 = std::int32_t __attribute__((vector_size(PLLAVA_LANES * 4)));
using VecU32 = std::uint32_t __attribute__((vector_size(PLLAVA_LANES * 4)));
using VecI16 = std::int16_t __attribute__((vector_size(PLLAVA_LANES * 4)));
using VecU16 = std::uint16_t __attribute__((vector_size(PLLAVA_LANES * 4)));
using HalfVecU16 = std::uint16_t __attribute__((vector_size(PLLAVA_LANES * 2)));
using QuarterVecI8 = std::int8_t __attribute__((vector_size(PLLAVA_LANES)));
using QuarterVecU8 = std::uint8_t __attribute__((vector_size(PLLAVA_LANES)));

// ---- compiler hints -----------------------------------------------------------------------------

/// Forces `v` into a register. Otherwise GCC renames accumulators in long loops until some of them
/// spill.
template <class V>
PLLAVA_VECTOR void keep_in_register(V& v) {
#if defined(__x86_64__)
  __asm__("" : "+v"(v));
#elif defined(__aarch64__)
  __asm__("" : "+w"(v));
#endif
}
/// Forces later loads to read memory again, so that loaded values do not occupy registers.
PLLAVA_VECTOR void compiler_barrier() {
  __asm__ volatile("" ::: "memory");
}

// ---- loads, stores, conversions -----------------------------------------------------------------

PLLAVA_VECTOR VecF32 broadcast(float v) {
  return v - VecF32{};
}
PLLAVA_VECTOR VecF32 load(const float* p) {
  VecF32 v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
PLLAVA_VECTOR void store(float* p, VecF32 v) {
  __builtin_memcpy(p, &v, sizeof v);
}
/// The same bits as floats.
PLLAVA_VECTOR VecF32 as_f32(VecI32 v) {
  VecF32 f;
  __builtin_memcpy(&f, &v, sizeof f);
  return f;
}
/// The same bits as integers.
PLLAVA_VECTOR VecI32 as_i32(VecF32 v) {
  VecI32 i;
  __builtin_memcpy(&i, &v, sizeof i);
  return i;
}
PLLAVA_VECTOR VecF32 load(const bf16* p) {
  HalfVecU16 h;
  __builtin_memcpy(&h, p, sizeof h);
  return as_f32(__builtin_convertvector(h, VecI32) << 16);
}
/// Rounds to nearest even; NaN stays NaN.
PLLAVA_VECTOR void store(bf16* p, VecF32 v) {
  const VecI32 u = as_i32(v);
  VecI32 rounded = u + 0x7fff + ((u >> 16) & 1);
  const VecI32 is_nan = (u & 0x7fffffff) > 0x7f800000;
  rounded = (is_nan & (u | 0x400000)) | (~is_nan & rounded);
  const HalfVecU16 h = __builtin_convertvector((rounded >> 16) & 0xffff, HalfVecU16);
  __builtin_memcpy(static_cast<void*>(p), &h, sizeof h);
}
PLLAVA_VECTOR VecI32 load_i32(const void* p) {
  VecI32 v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
PLLAVA_VECTOR VecI32 broadcast_i32(const void* p) {
  std::int32_t v;
  __builtin_memcpy(&v, p, 4);
  return v - VecI32{};
}
// kLanes bytes to 32-bit integers and back. GCC 12 converts them lane by lane in general registers,
// so AVX2 and AVX-512 use intrinsics.
PLLAVA_VECTOR VecI32 load_u8_as_i32(const std::uint8_t* p) {
#if defined(__x86_64__) && PLLAVA_LANES == 8
  return (VecI32)_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
#elif defined(__x86_64__) && PLLAVA_LANES == 16
  return (VecI32)_mm512_maskz_cvtepu8_epi32(0xffff,
                                            _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
#else
  QuarterVecU8 b;
  __builtin_memcpy(&b, p, sizeof b);
  return __builtin_convertvector(b, VecI32);
#endif
}
PLLAVA_VECTOR VecI32 load_i8_as_i32(const std::int8_t* p) {
#if defined(__x86_64__) && PLLAVA_LANES == 8
  return (VecI32)_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
#elif defined(__x86_64__) && PLLAVA_LANES == 16
  return (VecI32)_mm512_maskz_cvtepi8_epi32(0xffff,
                                            _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
#else
  QuarterVecI8 b;
  __builtin_memcpy(&b, p, sizeof b);
  return __builtin_convertvector(b, VecI32);
#endif
}
PLLAVA_VECTOR VecF32 load(const std::int8_t* p) {
  return __builtin_convertvector(load_i8_as_i32(p), VecF32);
}
/// Stores the low byte of each lane; the values must fit 8 bits.
PLLAVA_VECTOR void store_as_i8(std::int8_t* p, VecI32 v) {
#if defined(__x86_64__) && PLLAVA_LANES == 8
  const __m128i halves =
      _mm_packs_epi32(_mm256_castsi256_si128((__m256i)v), _mm256_extracti128_si256((__m256i)v, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packs_epi16(halves, halves));
#elif defined(__x86_64__) && PLLAVA_LANES == 16
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_maskz_cvtepi32_epi8(0xffff, (__m512i)v));
#else
  const QuarterVecI8 b = __builtin_convertvector(v, QuarterVecI8);
  __builtin_memcpy(p, &b, sizeof b);
#endif
}
/// Loads n < kLanes values; the other lanes are zero.
PLLAVA_VECTOR VecF32 load_partial(const float* p, Index n) {
  float lanes[kLanes] = {};
  for (Index i = 0; i < n; ++i) lanes[i] = p[i];
  return load(lanes);
}
/// Stores the first n < kLanes values.
PLLAVA_VECTOR void store_partial(float* p, VecF32 v, Index n) {
  float lanes[kLanes];
  store(lanes, v);
  for (Index i = 0; i < n; ++i) p[i] = lanes[i];
}

// ---- arithmetic ---------------------------------------------------------------------------------

PLLAVA_VECTOR VecF32 select(VecI32 mask, VecF32 a, VecF32 b) {
  return mask ? a : b;
}
/// The larger value of each lane; b where either is NaN.
PLLAVA_VECTOR VecF32 max(VecF32 a, VecF32 b) {
#if defined(__x86_64__) && PLLAVA_LANES == 16
  return (VecF32)_mm512_maskz_max_ps(0xffff, (__m512)a, (__m512)b);
#elif defined(__x86_64__) && PLLAVA_LANES == 8
  return (VecF32)_mm256_max_ps((__m256)a, (__m256)b);
#else
  return a > b ? a : b;
#endif
}
PLLAVA_VECTOR VecF32 abs(VecF32 v) {
  return as_f32(as_i32(v) & 0x7fffffff);
}
PLLAVA_VECTOR float reduce_max(VecF32 v) {
  float m = v[0];
  for (Index i = 1; i < kLanes; ++i) m = v[i] > m ? v[i] : m;
  return m;
}
PLLAVA_VECTOR float reduce_sum(VecF32 v) {
  float s = 0;
  for (Index i = 0; i < kLanes; ++i) s += v[i];
  return s;
}

// ---- tiles --------------------------------------------------------------------------------------

constexpr Index kTileRows = kLanes == 16 ? 14 : 6;  // rows of the largest tile
static_assert(kTileRows <= kMaxTileRows);
constexpr Index kPanelVecs = kPanelWidth / kLanes;                 // vectors in a row of a panel
constexpr Index kHalfPanelVecs = kPanelVecs < 4 ? kPanelVecs : 4;  // at most 4 of them

/// Calls micro_kernel<MR, V, U>() with the register block for a tile of `rows`: MR rows by V
/// vectors of columns, with U accumulators each; the caller repeats it over the columns of the
/// panel. Tiles of many rows are compute-bound: their accumulators fill the registers. Tiles of few
/// rows are memory-bound: they read whole rows of the panel and use 8 accumulators to hide the FMA
/// latency.
template <class MicroKernel>
void with_tile_shape(Index rows, const MicroKernel& micro_kernel) {
  switch (rows) {
    case 1: return micro_kernel.template operator()<1, kPanelVecs, 8 / kPanelVecs>();
    case 2: return micro_kernel.template operator()<2, kHalfPanelVecs, 4 / kHalfPanelVecs>();
    case 4: return micro_kernel.template operator()<4, 2, 1>();
#if PLLAVA_LANES == 16
    case 8: return micro_kernel.template operator()<8, 2, 1>();
#endif
    default: return micro_kernel.template operator()<kTileRows, 2, 1>();
  }
}

/// Adds the U accumulators of each element and stores c (MR, V · kLanes), part of a tile.
template <Index U, Index MR, Index V>
PLLAVA_VECTOR void store_accumulators(float* c, VecF32 (&acc)[U][MR][V]) {
#pragma GCC unroll 16
  for (Index r = 0; r < MR; ++r)
#pragma GCC unroll 8
    for (Index v = 0; v < V; ++v) {
#pragma GCC unroll 4
      for (Index u = 1; u < U; ++u) acc[0][r][v] += acc[u][r][v];
      store(c + r * kPanelWidth + v * kLanes, acc[0][r][v]);
    }
}
