// Instruction sets that the CPU kernels are built for, and the choice among them at run time.
#pragma once

#include "pllava/config.hpp"
#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace pllava::cpu {

/// Of Arm (neon_dot: products of 8-bit integers) and of x86-64, from the least to the most wanted;
/// _vnni multiplies 8-bit integers, _bf16 these and bf16. `portable` is what the compiler makes of
/// plain vectors: NEON, SSE2.
enum class Isa { portable, neon_dot, avx2, avx_vnni, avx512, avx512_vnni, avx512_bf16 };

/// Whether this machine can run it.
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
  if (isa == Isa::avx_vnni) {  // a bit that clang's __builtin_cpu_supports does not know by name
    unsigned a = 0, b = 0, c = 0, d = 0;
    return avx2 && __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && (a & 1U << 4) != 0;
  }
#elif defined(__aarch64__) && defined(__linux__)
  if (isa == Isa::neon_dot) return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
#endif
  return false;
}

/// The best one this machine can run that is not above `most`.
inline Isa detect_isa(Isa most = Isa::avx512_bf16) noexcept {
  while (!has_isa(most)) most = static_cast<Isa>(static_cast<int>(most) - 1);
  return most;
}

}  // namespace pllava::cpu
