// Instruction sets that the CPU kernels are built for, and the choice among them at run time.
#pragma once

#include "pllava/config.hpp"
#if defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace pllava::cpu {

/// In increasing order of what is required of the machine, of Arm (neon_dot: products of 8-bit
/// integers) and of x86-64 (the last multiplies bf16 and 8-bit integers: AVX512-BF16 and
/// AVX512-VNNI, which come together). `portable` is what the compiler makes of plain vectors: NEON,
/// SSE2.
enum class Isa { portable, neon_dot, avx2, avx512, avx512_bf16 };

/// The best one this machine can run.
inline Isa detect_isa() noexcept {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512dq");
  if (avx512 && __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512vnni"))
    return Isa::avx512_bf16;
  if (avx512) return Isa::avx512;
  if (avx2) return Isa::avx2;
#elif defined(__aarch64__) && defined(__linux__)
  if ((getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0) return Isa::neon_dot;
#endif
  return Isa::portable;
}

}  // namespace pllava::cpu
