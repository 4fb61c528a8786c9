// The table of SIMD kernels of one instruction set. The rest of the backend calls kernels through
// this table only and contains no ISA-specific code.
#pragma once

#include "pllava/core/activation.hpp"
#include "pllava/core/dtype.hpp"
#include "pllava/core/quantization.hpp"
#include "pllava/cpu/isa.hpp"

namespace pllava::cpu {

/// Columns of a packed panel. Weights are stored as panels of 32 output channels, K-major within a
/// panel: f32 [N/32][K][32], bf16 [N/32][K/2][32][2]. All instruction sets share this layout.
inline constexpr Index kPanelWidth = 32;

/// Upper bound of Kernels::max_tile_rows for every instruction set; the size of tile buffers.
inline constexpr Index kMaxTileRows = 16;

/// Maximum rows of tile_int4.
inline constexpr Index kMaxInt4TileRows = 4;
static_assert(kMaxInt4TileRows <= kMaxTileRows);

/// Values of a block of Int8Lhs::sums. The depth of an integer product is a multiple of it.
inline constexpr Index kInt8Block = 32;

/// Left operand of an integer product: activation rows, rotated and quantized to int8,
/// x[r] ≈ scales[r] · values[r], with values from -127 to 127.
struct Int8Lhs {
  const void* values;  ///< layout: see tile_int8 and tile_int4
  /// Sums of the values, which kernels multiply by zero points. [k/32][rows]: two 16-bit sums of a
  /// block of 32 values, of those with k % 4 < 2 in the low half and of the others in the high
  /// half. Then [rows]: the sums of whole rows.
  const std::int32_t* sums;
  const float* scales;  ///< [rows]
};

/// A panel of 32 columns of quantized weights. int8: [k/4][32][4], a byte is the value + 128.
/// int4: [k/8][32][4], byte j of a column holds the value of k = 8i + j in its low nibble and that
/// of k = 8i + 4 + j in its high nibble.
struct QuantizedPanel {
  const std::uint8_t* values;
  const std::uint8_t* group_scales;  ///< [k/group][32], int4
  const std::uint8_t*
      zero_points;              ///< [k/group][32], int4; null: kSymmetricZeroPoint for all groups
  const float* channel_scales;  ///< [32]
};

/// One block of keys of an online softmax; the queries are the rows of the scores.
struct SoftmaxRows {
  Index num_queries;
  Index stride;         ///< rows of the padded tile
  Index num_keys;       ///< a multiple of 32
  const float* scores;  ///< [num_keys/32][stride][32]
  /// Optional int8 KV scales [num_keys]: key scales multiply the scores, value scales the
  /// probabilities.
  const float *key_scales, *value_scales;
  const Index* num_visible;  ///< [num_queries]: query r attends to the first num_visible[r] keys
  float* running_max;        ///< [num_queries], in and out: maximum score so far
  float* running_sum;        ///< [num_queries], in and out: sum of exp(score - running_max)
  float* rescale;            ///< [num_queries], out: the factor for sums of earlier blocks
};

/// One block of keys of an online softmax; 32 queries are the columns of the scores, one per lane.
struct SoftmaxColumns {
  Index num_keys;                   ///< a multiple of 4
  const float* scores;              ///< [num_keys][32]
  const std::int32_t* num_visible;  ///< [32], as in SoftmaxRows
  float* running_max;               ///< [32], as in SoftmaxRows; finite after the first block
  float* running_sum;               ///< [32]
  float* rescale;                   ///< [32]
};

/// Kernels over raw pointers. They require no alignment and accept any length.
struct Kernels {
  const char* name;
  Index max_tile_rows;      ///< maximum rows of a tile (but see kMaxInt4TileRows)
  DType bf16_lhs_dtype;     ///< type of the left operand of tile_bf16: bf16 or f32
  Index int8_lhs_bytes;     ///< bytes per value of the left operand of tile_int8: 1 or 2
  bool prefers_int4_tiles;  ///< tile_int4 is faster than unpack_int4 and tile_int8

  // ---- matrix products: c (rows, 32) = a · b, one tile ----

  /// The row count that a tile of `rows` is padded to; the padding rows must be zero.
  Index (*padded_rows)(Index rows);
  /// a [k][stride], the first `rows` of each k are used; b is a panel [k][32].
  void (*tile_f32)(Index rows, const float* a, Index stride, const float* b, Index k, float* c);
  /// As tile_f32, with b in signed int8.
  void (*tile_f32_int8)(Index rows, const float* a, Index stride, const std::int8_t* b, Index k,
                        float* c);
  /// bf16 with f32 accumulation: b [k/2][32][2], `pairs` is k/2. a is [k/2][stride][2] in bf16 or
  /// [k][stride] in f32, see bf16_lhs_dtype.
  void (*tile_bf16)(Index rows, const void* a, Index stride, const bf16* b, Index pairs, float* c);
  /// As tile_bf16, with a in bf16 and b [k][32] in signed int8. Null unless bf16_lhs_dtype is bf16.
  void (*tile_bf16_int8)(Index rows, const bf16* a, Index stride, const std::int8_t* b, Index pairs,
                         float* c);
  /// int8 with exact int32 accumulation: c = row scale · channel scale · integer sum. `quads` is
  /// k/4, a multiple of 8. a.values are [k/4][rows][4] in int8, or [k/4][2][rows][2] in int16 with
  /// values 0 and 2 of each quad before values 1 and 3; see int8_lhs_bytes.
  void (*tile_int8)(Index rows, const Int8Lhs& a, const QuantizedPanel& b, Index quads, float* c);
  /// As tile_int8, for an int4 panel and a.values in int8; `group` is a multiple of 32.
  void (*tile_int4)(Index rows, const Int8Lhs& a, const QuantizedPanel& b, Index quads, Index group,
                    float* c);
  /// Converts the values of an int4 panel to those of the equivalent int8 panel.
  void (*unpack_int4)(std::uint8_t* panel, const QuantizedPanel& b, Index quads, Index group);

  // ---- row-wise ----

  /// pllava::rotate, bit for bit.
  void (*rotate)(float* x, Index n);
  /// Quantizes a row to int8, -127 to 127; returns its scale.
  float (*quantize_row)(std::int8_t* q, const float* x, Index n);
  void (*bf16_to_float)(float* dst, const bf16* src, Index n);
  void (*float_to_bf16)(bf16* dst, const float* src, Index n);
  void (*activate)(float* x, Index n, Activation act);                     ///< x = act(x)
  void (*act_mul)(float* gate, const float* up, Index n, Activation act);  ///< gate = act(gate)·up
  void (*add)(float* x, const float* y, Index n);                          ///< x += y
  /// x = x · scale + y
  void (*scale_add)(float* x, float scale, const float* y, Index n);
  /// LayerNorm, y = (x - mean)/σ · gain + bias, or RMSNorm, y = x/rms · gain. `bias` may be null.
  void (*norm)(float* y, const float* x, const float* gain, const float* bias, float eps, Index n,
               bool rms);

  // ---- attention ----

  /// Updates the softmax state and writes the probabilities exp(score - running_max), 0 for keys
  /// that are not visible, as the left operand of a tile: f32 [num_keys][stride], bf16
  /// [num_keys/2][stride][2].
  void (*softmax_rows_f32)(const SoftmaxRows& block, float* probs);
  void (*softmax_rows_bf16)(const SoftmaxRows& block, bf16* probs);
  /// The same, as the right operand of a tile: f32 [num_keys][32], bf16 [num_keys/2][32][2].
  void (*softmax_columns_f32)(const SoftmaxColumns& block, float* probs);
  void (*softmax_columns_bf16)(const SoftmaxColumns& block, bf16* probs);
  /// x = x · scales + y for x and y (rows, 32), with one scale per column.
  void (*scale_add_columns)(float* x, const float* scales, const float* y, Index rows);
  /// Converts a bf16 panel [pairs][32][2] to an f32 panel [2 · pairs][32].
  void (*unpack_bf16_panel)(float* dst, const bf16* src, Index pairs);
  /// Dequantizes an int8 panel [k][32] to f32 [k][32] or bf16 [k/2][32][2]. The scales are
  /// `column_scales` [32] or, where these are null, `k_scales` [k].
  void (*dequantize_panel_f32)(float* dst, const std::int8_t* src, const float* column_scales,
                               const float* k_scales, Index k);
  void (*dequantize_panel_bf16)(bf16* dst, const std::int8_t* src, const float* column_scales,
                                const float* k_scales, Index k);
};

/// The kernels of `isa`, or those of the best lower instruction set that this build contains.
const Kernels& kernels(Isa isa);

}  // namespace pllava::cpu

#ifndef PLLAVA_COMPILED
#include "pllava/cpu/detail/kernels_inl.hpp"
#endif
