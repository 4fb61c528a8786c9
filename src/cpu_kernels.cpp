// Compiled bodies of cpu/kernels.hpp: the SIMD kernels of every instruction set.
#include "pllava/cpu/detail/kernels_inl.hpp"
