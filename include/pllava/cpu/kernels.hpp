// The table of vector kernels of one instruction set. Everything ISA-specific is behind it.
#pragma once

#include "pllava/core/dtype.hpp"
#include "pllava/cpu/isa.hpp"
#include "pllava/model_config.hpp"

namespace pllava::cpu {

/// Columns of a packed panel. Weights are stored as panels of 32 output columns, K-major inside:
/// f32 [N/32][K][32], bf16 [N/32][K/2][32][2]. One layout serves every instruction set.
inline constexpr Index kPanel = 32;

/// Kernels over raw pointers; no alignment is required, lengths may be anything.
struct Kernels {
  const char* name;
  Index max_rows;  ///< most rows a tile call takes

  /// Rows that a tile of `rows` must be packed to; the surplus is zero.
  Index (*packed_rows)(Index rows);
  /// c (rows, 32) = a · b with a packed [k][rows] and b a panel [k][32].
  void (*tile_f32)(Index rows, const float* a, const float* b, Index k, float* c);
  /// The same in bf16 with f32 accumulation: a [k/2][rows][2], b [k/2][32][2]; `pairs` is k/2.
  void (*tile_bf16)(Index rows, const bf16* a, const bf16* b, Index pairs, float* c);

  void (*bf16_to_float)(float* dst, const bf16* src, Index n);
  void (*float_to_bf16)(bf16* dst, const float* src, Index n);
  void (*activate)(float* x, Index n, Activation act);                     ///< x = act(x)
  void (*act_mul)(float* gate, const float* up, Index n, Activation act);  ///< gate = act(gate)·up
  void (*add)(float* x, const float* y, Index n);                          ///< x += y
  void (*scale)(float* x, float factor, Index n);                          ///< x *= factor
  float (*maximum)(const float* x, Index n);
  /// x = exp(x - shift); returns the sum.
  float (*exp_sum)(float* x, float shift, Index n);
  /// y = (x - mean)/σ · gain + bias; without bias the RMS norm x/rms · gain.
  void (*norm)(float* y, const float* x, const float* gain, const float* bias, float eps, Index n,
               bool rms);
};

/// The kernels of `isa`; falls back to the best that this build knows below it.
const Kernels& kernels(Isa isa);

}  // namespace pllava::cpu

#ifndef PLLAVA_COMPILED
#include "pllava/impl/cpu_kernels_inl.hpp"
#endif
