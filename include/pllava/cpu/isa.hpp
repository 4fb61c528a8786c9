// The instruction sets that the CPU kernels are compiled for, and their detection at run time.
#pragma once

#include "pllava/config.hpp"
#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace pllava::cpu {

/// Ordered by preference; a value may be supported although a lower one is not.
enum class Isa {
  portable,     ///< the compiler's baseline: SSE2 on x86-64, NEON on Arm
  neon_dot,     ///< Arm: NEON with dot products of 8-bit integers
  avx2,         ///< x86-64: AVX2 and FMA
  avx_vnni,     ///< avx2 with AVX-VNNI
  avx512,       ///< x86-64: AVX-512 F, BW, VL, DQ
  avx512_vnni,  ///< avx512 with AVX512-VNNI
  avx512_bf16   ///< avx512_vnni with AVX512-BF16
};

/// Whether this machine supports `isa`.
inline bool has_isa(Isa isa) noexcept {
  if (isa == Isa::portable) return true;
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512dq");
  const bool avx512_vnni = avx512 && __builtin_cpu_supports("avx512vnni");
  if (isa == Isa::avx2) return avx2;
  if (isa == Isa::avx512) return avx512;
  if (isa == Isa::avx512_vnni) return avx512_vnni;
  if (isa == Isa::avx512_bf16) return avx512_vnni && __builtin_cpu_supports("avx512bf16");
  if (isa == Isa::avx_vnni) {  // clang's __builtin_cpu_supports does not know its name
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
    return avx2 && __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) != 0 && (eax & 1U << 4) != 0;
  }
#elif defined(__aarch64__) && defined(__linux__)
  if (isa == Isa::neon_dot) return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
#endif
  return false;
}

/// The most preferred instruction set of this machine that is not above `max`.
inline Isa detect_isa(Isa max = Isa::avx512_bf16) noexcept {
  while (!has_isa(max)) max = static_cast<Isa>(static_cast<int>(max) - 1);
  return max;
}

}  // namespace pllava::cpu
