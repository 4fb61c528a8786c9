// The table of vector kernels of one instruction set. Everything ISA-specific is behind it.
#pragma once

#include "pllava/core/activation.hpp"
#include "pllava/core/dtype.hpp"
#include "pllava/core/quantization.hpp"
#include "pllava/cpu/isa.hpp"

namespace pllava::cpu {

/// Columns of a packed panel. Weights are stored as panels of 32 output columns, K-major inside:
/// f32 [N/32][K][32], bf16 [N/32][K/2][32][2]. One layout serves every instruction set.
inline constexpr Index kPanel = 32;

/// Left operands of integer products: rows x[r] ≈ scales[r] · integers, -127 to 127.
struct Int8Rows {
  const void* values;  ///< see the kernel that reads them
  /// [k/32][rows] pairs of 16 bits: the sums over 32 integers of those at k % 4 < 2, low, and of
  /// the others; then [rows] sums of all.
  const std::int32_t* sums;
  const float* scales;  ///< [rows]
};

/// A panel of 32 columns of integers. In int8 a byte is the value + 128, [k/4][32][4]. In int4 a
/// byte holds two nibbles, those of k/8·8 + j low and k/8·8 + 4 + j high: [k/8][32][4].
struct IntegerPanel {
  const std::uint8_t* values;
  const std::uint8_t* multipliers;  ///< [k/group][32], int4
  const std::uint8_t* zeros;        ///< the same, or null: all are kSymmetricZeroPoint
  const float* scales;              ///< [32]
};

/// One block of keys of an online softmax over `rows` rows.
struct SoftmaxBlock {
  Index rows;
  Index stride;         ///< rows of a tile, with its padding
  Index keys;           ///< a multiple of 32
  const float* scores;  ///< [keys/32][stride][32]
  /// Null, or factors of the keys: of their scores before the softmax, of their weights behind it.
  const float *key_scales, *value_scales;
  const Index* seen;  ///< how many of the keys row r may look at, from the first
  float* top;         ///< in and out: the highest score so far
  float* total;       ///< in and out: the sum of exp(score - top)
  float* shrink;      ///< out: what sums of earlier blocks must be multiplied with
};

/// The same of 32 queries, which are the columns of the scores, so that each lane has its own.
struct SoftmaxColumns {
  Index keys;                ///< a multiple of 4
  const float* scores;       ///< [keys][32]
  const std::int32_t* seen;  ///< [32]: how many of the keys a query may look at, from the first
  float* top;                ///< [32], as above; finite behind the first block
  float* total;              ///< [32]
  float* shrink;             ///< [32]
};

/// Most rows a call of tile_int4 takes.
inline constexpr Index kInt4Rows = 4;

/// Kernels over raw pointers; no alignment is required, lengths may be anything.
struct Kernels {
  const char* name;
  Index max_rows;   ///< most rows a tile call takes
  DType bf16_left;  ///< of the left operand of tile_bf16: bf16 or f32
  Index int8_left;  ///< bytes of an integer in the left operand of tile_int8: 1 or 2
  bool fast_int4;   ///< tile_int4 is faster than tile_int8

  /// Rows that a tile of `rows` must be packed to; the surplus is zero.
  Index (*packed_rows)(Index rows);
  /// c (rows, 32) = a · b with a packed [k][stride], of which the first `rows` count, and b a panel
  /// [k][32].
  void (*tile_f32)(Index rows, const float* a, Index stride, const float* b, Index k, float* c);
  /// The same with b of signed bytes.
  void (*tile_bytes)(Index rows, const float* a, Index stride, const std::int8_t* b, Index k,
                     float* c);
  /// The same in bf16 with f32 accumulation: b [k/2][32][2], `pairs` is k/2; a is [k/2][stride][2]
  /// in bf16 or [k][stride] in f32, as bf16_left says.
  void (*tile_bf16)(Index rows, const void* a, Index stride, const bf16* b, Index pairs, float* c);
  /// The same over 8-bit integers, exact but for the last step: c = scale · scale · integer sum.
  /// `quads` is k/4, and a multiple of 8. a.values are [k/4][rows][4] in bytes, or in 16 bits
  /// [k/4][2][rows][2] with k 0 and 2 of each quad before 1 and 3.
  void (*tile_int8)(Index rows, const Int8Rows& a, const IntegerPanel& b, Index quads, float* c);
  /// The same over an int4 panel, a.values in bytes; `group` is a multiple of 32.
  void (*tile_int4)(Index rows, const Int8Rows& a, const IntegerPanel& b, Index quads, Index group,
                    float* c);
  /// An int4 panel as the int8 panel that it stands for.
  void (*unpack_int4)(std::uint8_t* panel, const IntegerPanel& b, Index quads, Index group);
  /// Rounds a row to integers of -127 to 127; returns the scale that they are in units of.
  float (*quantize_row)(std::int8_t* q, const float* x, Index n);

  void (*bf16_to_float)(float* dst, const bf16* src, Index n);
  void (*float_to_bf16)(bf16* dst, const float* src, Index n);
  void (*activate)(float* x, Index n, Activation act);                     ///< x = act(x)
  void (*act_mul)(float* gate, const float* up, Index n, Activation act);  ///< gate = act(gate)·up
  void (*add)(float* x, const float* y, Index n);                          ///< x += y
  /// weights = exp(score - top), zero for keys that are not seen, as the left operand of a tile:
  /// f32 [keys][stride], bf16 [keys/2][stride][2], as bf16_left wants it.
  void (*softmax_f32)(const SoftmaxBlock& block, float* weights);
  void (*softmax_bf16)(const SoftmaxBlock& block, bf16* weights);
  /// The same as the right operand of a tile: f32 [keys][32], bf16 [keys/2][32][2].
  void (*softmax_columns_f32)(const SoftmaxColumns& block, float* weights);
  void (*softmax_columns_bf16)(const SoftmaxColumns& block, bf16* weights);
  /// x = x · factor of the column + y for lines of 32
  void (*scale_add_columns)(float* x, const float* factors, const float* y, Index lines);
  /// A panel [pairs][32][2] as one of floats, [2 · pairs][32].
  void (*split_pairs)(float* dst, const bf16* src, Index pairs);
  /// Lines of 32 bytes times factors, as the panel of a product. Factors are of the 32 columns or,
  /// where these are null, of the lines. bf16: pairs of lines, as there.
  void (*widen_f32)(float* dst, const std::int8_t* src, const float* of_columns,
                    const float* of_lines, Index lines);
  void (*widen_bf16)(bf16* dst, const std::int8_t* src, const float* of_columns,
                     const float* of_lines, Index lines);
  /// x = x · factor + y
  void (*scale_add)(float* x, float factor, const float* y, Index n);
  /// y = (x - mean)/σ · gain + bias; without bias the RMS norm x/rms · gain.
  void (*norm)(float* y, const float* x, const float* gain, const float* bias, float eps, Index n,
               bool rms);
};

/// The kernels of `isa`; falls back to the best that this build knows below it.
const Kernels& kernels(Isa isa);

}  // namespace pllava::cpu

#ifndef PLLAVA_COMPILED
#include "pllava/cpu/detail/kernels_inl.hpp"
#endif
