// Builds cpu_kernels_target.hpp for every instruction set and picks among the tables.
#pragma once

#include <cstdint>

#include "pllava/cpu/kernels.hpp"
#if defined(__x86_64__)
#include <immintrin.h>
#endif

// Vectors never cross a function that is not inlined, so the ABI of wide vectors does not matter.
#if defined(__clang__)
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wunknown-warning-option"
#else
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpsabi"
#endif
#define PLLAVA_VECTOR [[maybe_unused]] inline __attribute__((always_inline))
#if defined(__clang__)
#define PLLAVA_PRAGMA(x) _Pragma(#x)
#define PLLAVA_BEGIN_TARGET(features) \
  PLLAVA_PRAGMA(clang attribute push(__attribute__((target(features))), apply_to = function))
#define PLLAVA_END_TARGET _Pragma("clang attribute pop")
#else
#define PLLAVA_PRAGMA(x) _Pragma(#x)
#define PLLAVA_BEGIN_TARGET(features) \
  _Pragma("GCC push_options") PLLAVA_PRAGMA(GCC target(features))
#define PLLAVA_END_TARGET _Pragma("GCC pop_options")
#endif

namespace pllava::cpu {

namespace portable {
namespace {
#define PLLAVA_LANES 4
#define PLLAVA_TARGET_NAME "portable"
#include "pllava/impl/cpu_kernels_target.hpp"
#undef PLLAVA_LANES
#undef PLLAVA_TARGET_NAME
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
#define PLLAVA_TARGET_NAME "neon_dot"
#include "pllava/impl/cpu_kernels_target.hpp"
#undef PLLAVA_LANES
#undef PLLAVA_SDOT
#undef PLLAVA_TARGET_NAME
}  // namespace
}  // namespace neon_dot
PLLAVA_END_TARGET
#endif

#if defined(__x86_64__)
PLLAVA_BEGIN_TARGET("avx2,fma")
namespace avx2 {
namespace {
#define PLLAVA_LANES 8
#define PLLAVA_TARGET_NAME "avx2"
#include "pllava/impl/cpu_kernels_target.hpp"
#undef PLLAVA_LANES
#undef PLLAVA_TARGET_NAME
}  // namespace
}  // namespace avx2
PLLAVA_END_TARGET

PLLAVA_BEGIN_TARGET("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq")
namespace avx512 {
namespace {
#define PLLAVA_LANES 16
#define PLLAVA_TARGET_NAME "avx512"
#include "pllava/impl/cpu_kernels_target.hpp"
#undef PLLAVA_TARGET_NAME
}  // namespace
}  // namespace avx512
PLLAVA_END_TARGET

PLLAVA_BEGIN_TARGET("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,avx512vnni")
namespace avx512_bf16 {
namespace {
#define PLLAVA_DPBF16
#define PLLAVA_TARGET_NAME "avx512_bf16"
#include "pllava/impl/cpu_kernels_target.hpp"
#undef PLLAVA_DPBF16
#undef PLLAVA_LANES
#undef PLLAVA_TARGET_NAME
}  // namespace
}  // namespace avx512_bf16
PLLAVA_END_TARGET
#endif

PLLAVA_INLINE const Kernels& kernels(Isa isa) {
  switch (isa) {
#if defined(__x86_64__)
    case Isa::avx512_bf16: return avx512_bf16::kTable;
    case Isa::avx512: return avx512::kTable;
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
