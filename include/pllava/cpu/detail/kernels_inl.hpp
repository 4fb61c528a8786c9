// Compiles the kernels for every instruction set and returns the table of the requested one. An
// instruction set compiles only the kernels that it improves; it copies the others from the table
// of a lower one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "pllava/core/rotation.hpp"
#include "pllava/cpu/kernels.hpp"
#if defined(__x86_64__)
#include <immintrin.h>
#endif

// Functions that take or return vectors are always inlined, so the ABI of wide vectors is not used.
#if defined(__clang__)
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wunknown-warning-option"
#else
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpsabi"
#endif
#define PLLAVA_VECTOR [[maybe_unused]] inline __attribute__((always_inline))
#define PLLAVA_PRAGMA(x) _Pragma(#x)
#if defined(__clang__)
#define PLLAVA_BEGIN_TARGET(features) \
  PLLAVA_PRAGMA(clang attribute push(__attribute__((target(features))), apply_to = function))
#define PLLAVA_END_TARGET _Pragma("clang attribute pop")
#else
#define PLLAVA_BEGIN_TARGET(features) \
  _Pragma("GCC push_options") PLLAVA_PRAGMA(GCC target(features))
#define PLLAVA_END_TARGET _Pragma("GCC pop_options")
#endif

namespace pllava::cpu {

constexpr Kernels named(const char* name, Kernels table) {
  table.name = name;
  return table;
}

namespace portable {
namespace {
#define PLLAVA_LANES 4
#include "pllava/cpu/detail/simd_all.hpp"
#undef PLLAVA_LANES
constexpr Kernels kTable = named("portable", with_all({}));
}  // namespace
}  // namespace portable

#if defined(__aarch64__)
#if defined(__clang__)
PLLAVA_BEGIN_TARGET("dotprod")
#else
PLLAVA_BEGIN_TARGET("arch=armv8.2-a+dotprod")
#endif
namespace neon_dot {
namespace {
#define PLLAVA_LANES 4
#define PLLAVA_SDOT
#include "pllava/cpu/detail/simd_integers.hpp"
#undef PLLAVA_LANES
#undef PLLAVA_SDOT
constexpr Kernels kTable = named("neon_dot", with_integers(portable::kTable));
}  // namespace
}  // namespace neon_dot
PLLAVA_END_TARGET
#endif

#if defined(__x86_64__)
PLLAVA_BEGIN_TARGET("avx2,fma")
namespace avx2 {
namespace {
#define PLLAVA_LANES 8
#include "pllava/cpu/detail/simd_all.hpp"
constexpr Kernels kTable = named("avx2", with_all({}));
}  // namespace
}  // namespace avx2
PLLAVA_END_TARGET

PLLAVA_BEGIN_TARGET("avx2,fma,avxvnni")
namespace avx_vnni {
namespace {
#define PLLAVA_DPBUSD
#include "pllava/cpu/detail/simd_integers.hpp"
#undef PLLAVA_LANES
#undef PLLAVA_DPBUSD
constexpr Kernels kTable = named("avx_vnni", with_integers(avx2::kTable));
}  // namespace
}  // namespace avx_vnni
PLLAVA_END_TARGET

PLLAVA_BEGIN_TARGET("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq")
namespace avx512 {
namespace {
#define PLLAVA_LANES 16
#include "pllava/cpu/detail/simd_all.hpp"
constexpr Kernels kTable = named("avx512", with_all({}));
}  // namespace
}  // namespace avx512
PLLAVA_END_TARGET

PLLAVA_BEGIN_TARGET("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")
namespace avx512_vnni {
namespace {
#define PLLAVA_DPBUSD
#include "pllava/cpu/detail/simd_integers.hpp"
#undef PLLAVA_DPBUSD
constexpr Kernels kTable = named("avx512_vnni", with_integers(avx512::kTable));
}  // namespace
}  // namespace avx512_vnni
PLLAVA_END_TARGET

PLLAVA_BEGIN_TARGET("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")
namespace avx512_bf16 {
namespace {
#define PLLAVA_DPBF16
#include "pllava/cpu/detail/simd_base.hpp"
#include "pllava/cpu/detail/simd_bf16.hpp"
#undef PLLAVA_LANES
#undef PLLAVA_DPBF16
constexpr Kernels kTable = named("avx512_bf16", with_bf16(avx512_vnni::kTable));
}  // namespace
}  // namespace avx512_bf16
PLLAVA_END_TARGET
#endif

PLLAVA_INLINE const Kernels& kernels(Isa isa) {
  switch (isa) {
#if defined(__x86_64__)
    case Isa::avx512_bf16: return avx512_bf16::kTable;
    case Isa::avx512_vnni: return avx512_vnni::kTable;
    case Isa::avx512: return avx512::kTable;
    case Isa::avx_vnni: return avx_vnni::kTable;
    case Isa::avx2: return avx2::kTable;
#elif defined(__aarch64__)
    case Isa::neon_dot: return neon_dot::kTable;
#endif
    default: return portable::kTable;
  }
}

}  // namespace pllava::cpu

#undef PLLAVA_VECTOR
#undef PLLAVA_PRAGMA
#undef PLLAVA_BEGIN_TARGET
#undef PLLAVA_END_TARGET
#if defined(__clang__)
#pragma clang diagnostic pop
#else
#pragma GCC diagnostic pop
#endif
