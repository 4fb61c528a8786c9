// The instruction sets that this machine supports.
#pragma once

#include <vector>

#include "pllava/cpu/isa.hpp"

namespace test {

inline std::vector<pllava::cpu::Isa> supported_isas() {
  using pllava::cpu::Isa;
  std::vector<Isa> found;
  for (const Isa isa : {Isa::portable, Isa::neon_dot, Isa::avx2, Isa::avx_vnni, Isa::avx512,
                        Isa::avx512_vnni, Isa::avx512_bf16})
    if (pllava::cpu::has_isa(isa)) found.push_back(isa);
  return found;
}

}  // namespace test
