// Host functions that launch the kernels. C++17 without a CUDA header: nvcc and the C++20 backend
// both include this file.
//
// Every function enqueues work on `stream` and returns a cudaError_t as an int, 0 for success.
// Pointers are to device memory, matrices are dense and row-major. Sizes are checked by the
// callers; zero rows are allowed.
#pragma once

#include <cstdint>

namespace pllava::cuda::kernels {

using Stream = void*;  // cudaStream_t

/// Element type of an operand.
enum class Type : std::int8_t { f32, f16, bf16 };

enum class Act : std::int8_t { none, quick_gelu, gelu, gelu_tanh, silu };

/// A matrix or vector operand of any element type.
struct Operand {
  void* data = nullptr;
  Type type = Type::f32;
};

enum class QuantizedType : std::int8_t { int8, int4, e4m3 };

constexpr int bits_of(QuantizedType type) {
  return type == QuantizedType::int4 ? 4 : 8;
}

/// A quantized matrix (rows, in), see core/quantization.hpp:
///
///     w[r, k] = channel_scales[r] * group_scales[r, g] * (values[r, k] - zero_points[r, g])
///
/// where g is the group of k. A row of values is `packs` packs of 16 bytes, each of 16 8-bit or 32
/// 4-bit values, so that a warp reads 512 bytes at a time. No pack spans two groups. Values are
/// stored as in files: int8 as value + 128, int4 as two nibbles to a byte, the even one low.
/// Padding at the end of a row is unspecified. Scales of packs that neighbouring lanes read are
/// adjacent.
struct QuantizedMatrix {
  const std::uint32_t* values = nullptr;       // (rows, packs, 4)
  const float* channel_scales = nullptr;       // (rows)
  const std::uint8_t* group_scales = nullptr;  // (rows, groups), int4 only; else null, all 1
  /// (rows, groups), or null: 128 for int8, 8 for int4, 0 for e4m3.
  const std::uint8_t* zero_points = nullptr;
  QuantizedType type = QuantizedType::int8;
  int packs = 0;             // in a row
  int log2_group_packs = 0;  // an int4 group is 1 << log2_group_packs packs
};

/// Limit of a block's dynamic shared memory. A block has at most 99 KiB of shared memory on sm_86
/// and sm_89, more on other GPUs since sm_80; 1 KiB is left for the static arrays of the kernels.
constexpr int kMaxSharedBytes = 98 * 1024;

// ---- elementwise.cu -----------------------------------------------------------------------------

/// y = x, converted.  (n)
int convert(Operand y, Operand x, std::int64_t n, Stream stream);

/// y = act(y) in place.  (n)
int activate(Operand y, std::int64_t n, Act act, Stream stream);

/// g = act(gate) * up.  gate_up (rows, 2 * width): gate, then up; g (rows, width)
int act_mul(Operand g, Operand gate_up, std::int64_t rows, int width, Act act, Stream stream);

// ---- embedding.cu -------------------------------------------------------------------------------

/// x[n] = table[ids[n]].  ids (rows), table (V, width), x (rows, width) f32
int embed(float* x, const std::int32_t* ids, Operand table, std::int64_t rows, int width,
          Stream stream);

/// Patches as rows; pixels after the last whole patch are left out.
/// pixels (frames, 3, side, side) f32, y (frames * floor(side/patch)^2, 3 * patch^2)
int patchify(Operand y, const float* pixels, int frames, int side, int patch, Stream stream);

/// x[t, 0] = cls + pos[0], x[t, 1 + p] = patches[t, p] + pos[1 + p].
/// x (frames * (per_frame + 1), width). If cls is null, x[t, p] = patches[t, p] + pos[p].
int add_positions(float* x, Operand patches, const float* cls, const float* positions, int frames,
                  int per_frame, int width, Stream stream);

/// y[t, p] = x[t, first + p].  x (frames * (first + per_frame), width) f32
int select_patches(Operand y, const float* x, int frames, int first, int per_frame, int width,
                   Stream stream);

// ---- pooling.cu ---------------------------------------------------------------------------------

enum class PoolKind : std::int8_t { average, maximum, bilinear };

/// Adaptive pooling of a (t, h, w) grid of rows; see ops::pool3d.
struct Pool {
  int in[3], out[3];
  int width;
  PoolKind kind;
};
int pool3d(Operand y, Operand x, const Pool& pool, Stream stream);

// ---- sampling.cu --------------------------------------------------------------------------------

/// The options of a Sampler, and its state for the next token.
struct Sampling {
  /// `num_penalized` distinct ids to penalize, then `num_excluded` ids to exclude. Ids outside the
  /// vocabulary are ignored.
  const std::int32_t* ids = nullptr;
  int num_penalized = 0, num_excluded = 0;
  float penalty = 1;
  float temperature = 0;
  int top_k = 0;
  float top_p = 1;
  double uniform = 0;
};

/// id[0] = the index that Sampler chooses among `count` logits, after the given ids are penalized
/// and excluded; -1 if a logit is NaN or +inf, or if all are -inf. Changes the logits. `workspace`:
/// (count) values.
int sample(std::int32_t* id, float* logits, int count, const Sampling& sampling,
           std::uint64_t* workspace, Stream stream);

// ---- image_preprocessing.cu ---------------------------------------------------------------------

/// Frames of one size, `frame_bytes` apart, with rows `stride` bytes apart. `first` is the first
/// byte of the window that is read.
struct FrameBatch {
  const std::uint8_t* first = nullptr;
  std::int64_t frame_bytes = 0, stride = 0;
  int pixel_bytes = 3;  // 1 (grey), 3 or 4
  bool blue_first = false;
};

/// One pass of Pillow's bicubic resampling, along x or y: each output is the sum of `count` inputs
/// from `first` on with fixed-point weights of 22 fraction bits, rounded to 8 bits.
struct Resample {
  std::uint8_t* out = nullptr;  // (frames, rows, columns, 3), dense RGB
  FrameBatch in;
  const std::int32_t* taps = nullptr;  // (outputs, 3): first, offset into weights, count
  const std::int32_t* weights = nullptr;
  int frames = 0, rows = 0, columns = 0;
  bool vertical = false;
};
int resample(const Resample& params, Stream stream);

/// An NV12 image: luma (height, width), and pairs (Cb, Cr) of half the height and width, with rows
/// `luma_stride` and `chroma_stride` bytes apart. Coefficients have 16 fraction bits; those of
/// green are subtracted.
struct Nv12 {
  const std::uint8_t* luma = nullptr;
  const std::uint8_t* chroma = nullptr;
  std::int64_t luma_stride = 0, chroma_stride = 0;
  int luma_offset = 0, luma_scale = 0;
  int red_cr = 0, green_cb = 0, green_cr = 0, blue_cb = 0;
};

/// out (height, width, 3), dense RGB; the arithmetic is that of YuvEncoding (cuda.hpp).
int nv12_to_rgb(std::uint8_t* out, const Nv12& in, int width, int height, Stream stream);

/// out[t, c, y, x] = table[c, in[t, y, x, c]].  out (frames, 3, side, side), table (3, 256)
int normalize(float* out, const FrameBatch& in, const float* table, int frames, int side,
              Stream stream);

// ---- norm.cu ------------------------------------------------------------------------------------

/// LayerNorm, or RMSNorm where `bias` is null; statistics in f32.
struct Norm {
  const float* gain = nullptr;  // (width)
  const float* bias = nullptr;
  float eps = 1e-5f;
};

/// y = norm(x).  x, y (rows, width)
int norm(Operand y, const float* x, std::int64_t rows, int width, const Norm& norm, Stream stream);

// ---- quantize.cu --------------------------------------------------------------------------------

/// Quantizes rows of x to e4m3: x[r, k] ≈ scales[r] * y[r, k], where max|y| of a row is 448,
/// or less if max|x| is below 1e-30 (0 for a row of zeros, with the scale 0). A row with an
/// infinity or NaN gets the scale NaN.  x, y (rows, width)
int quantize_rows(std::uint8_t* y, float* scales, Operand x, std::int64_t rows, int width,
                  Stream stream);

/// y = rows [first, first + rows) of w, dequantized.  y (rows, in), fewer than 2^31 values
int dequantize(Operand y, const QuantizedMatrix& w, int first, int rows, int in, Stream stream);

// ---- rotation.cu --------------------------------------------------------------------------------

/// y = R * x for each row, the rotation of core/rotation.hpp.  x, y (rows, width). Rows that need
/// more than kMaxSharedBytes are rotated in y, which must then be f32.
int rotate_rows(Operand y, Operand x, std::int64_t rows, int width, Stream stream);

/// Shared memory of a block of rotate_rows().
int rotation_shared_bytes(int width);

// ---- gemv.cu, gemv_glu.cu, gemv_norm.cu ---------------------------------------------------------

/// Maximum number of rows of x. With these the kernels are bound by memory bandwidth.
constexpr int kMaxGemvRows = 8;

/// y = act(x * W^T + bias), or y += x * W^T + bias with `accumulate` (y is then f32).
/// x (rows, in), w (out, in), bias (out) f32 or null, y (rows, out); rows <= kMaxGemvRows.
struct Gemv {
  Operand y, x;
  const float* bias = nullptr;
  int rows = 1, out = 0, in = 0;
  Act act = Act::none;
  bool accumulate = false;
};
int gemv(const Gemv& params, Operand w, Stream stream);
int gemv(const Gemv& params, const QuantizedMatrix& w, Stream stream);

/// g = act(h * Wg^T) * (h * Wu^T).  h (rows, in), w (2 * out, in): gate, then up; g (rows, out)
int gemv_glu(const Gemv& params, Operand w, Stream stream);
int gemv_glu(const Gemv& params, const QuantizedMatrix& w, Stream stream);

/// Shared memory of a block of gemv() and gemv_glu().
int gemv_shared_bytes(int rows, int in);

/// y += x * W^T + bias as gemv() with `accumulate`, then h = norm(y), for one row. `block_counter`
/// is 0 before and after.
int gemv_norm(const Gemv& params, Operand w, Operand h, const Norm& norm, unsigned* block_counter,
              Stream stream);
int gemv_norm(const Gemv& params, const QuantizedMatrix& w, Operand h, const Norm& norm,
              unsigned* block_counter, Stream stream);
int gemv_norm_shared_bytes(int out, int in);

// ---- kv_append.cu, kv_move.cu, prefill_attention.cu, decode_attention.cu ------------------------

/// softmax(q * k^T / sqrt(head_dim) + mask) * v per head. A row of qkv is [query heads | key heads
/// | value heads], each of head_dim values.
///
/// Without a KV cache (keys == null), qkv holds `batch` independent sequences of `rows` rows, and
/// keys and values are read from qkv. With one (batch 1), append_kv() has written the keys and
/// values of the call after the first past[0] positions. Cached keys and values are (num_kv_heads,
/// capacity, head_dim), in the type of qkv or as int8 value + 128 with a scale for each row of a
/// head. int8 keys are rotated over head_dim (core/rotation.hpp).
struct Attention {
  Operand o;    // (batch * output_rows, num_query_heads * head_dim): the last rows of each sequence
  Operand qkv;  // (batch * rows, (num_query_heads + 2 * num_kv_heads) * head_dim)
  const float* rope = nullptr;  // (context, head_dim): cos | sin of each position; or null
  void* keys = nullptr;
  void* values = nullptr;
  float* kv_scales = nullptr;  // int8: (2, num_kv_heads, capacity), of keys, then values; else null
  const std::int32_t* past = nullptr;  // (1)
  std::int64_t capacity = 0;           // positions of the cache
  std::int64_t max_kv_length = 0;      // host-side upper bound of past + rows
  int rows = 0, output_rows = 0, batch = 1;
  int num_query_heads = 1, num_kv_heads = 1, head_dim = 1;
  bool causal = false;
};

/// Writes the keys (after RoPE if there is a rope) and values of the call into the cache, from
/// position past[0] on. With an int8 cache, also writes the queries of the output rows, after RoPE
/// and rotated, to o, where one call of an attention kernel replaces them by its results.
int append_kv(const Attention& params, Stream stream);

/// Rows [from, from + rows) of every head of a KV cache, which move to `to` < from.
struct KvMove {
  void* keys = nullptr;
  void* values = nullptr;
  float* scales = nullptr;  // as Attention::kv_scales
  std::int64_t capacity = 0, row_bytes = 0;
  std::int64_t to = 0, from = 0, rows = 0;
  int num_kv_heads = 1;
};

/// The ranges may overlap.
int move_kv(const KvMove& move, Stream stream);

/// Any number of rows: tiles on tensor cores (f16, bf16) or in f32. RoPE is applied to queries, and
/// to keys that are not cached, as they are loaded; with an int8 cache append_kv() has applied it.
int prefill_attention(const Attention& params, Stream stream);

/// Maximum number of rows of decode_attention().
constexpr int kMaxDecodeRows = 8;

/// Decode: up to kMaxDecodeRows rows with a cache. The positions are split between blocks and the
/// partial results merged. `workspace`: decode_workspace_bytes() bytes.
int decode_attention(const Attention& params, void* workspace, Stream stream);
std::int64_t decode_workspace_bytes(const Attention& params);

}  // namespace pllava::cuda::kernels
