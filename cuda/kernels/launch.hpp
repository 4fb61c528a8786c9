// The kernels, as plain functions on device memory. C++17, without a CUDA header, so that both nvcc
// and the C++20 glue include it.
//
// Every function only enqueues work on `stream` and returns a cudaError_t as an int, 0 for success.
// Matrices are dense and row-major. Sizes are checked by the callers; zero rows are allowed.
#pragma once

#include <cstdint>

namespace pllava::cuda::kernels {

using Stream = void*;  // cudaStream_t

/// Element type of an operand.
enum class Type : std::int8_t { f32, f16, bf16 };

enum class Act : std::int8_t { none, quick_gelu, gelu, silu };

/// A matrix or vector operand of any element type.
struct Operand {
  void* data = nullptr;
  Type type = Type::f32;
};

/// How a rounded number is stored.
enum class Code : std::int8_t { int8, int4, e4m3 };

constexpr int bits_of(Code code) {
  return code == Code::int4 ? 4 : 8;
}

/// A matrix (rows, in) of int8, int4 or e4m3 (core/quantization.hpp):
///
///     w[r, k] = scales[r] · multipliers[r, k / group] · (values[r, k] - zeros[r, k / group])
///
/// A row of values is `packs` packs of 16 bytes, each of 16 numbers of 8 bits or 32 of 4: a warp
/// reads 512 bytes at a time, and no pack lies in two groups. Packs hold the bytes that files hold,
/// in int8 value + 128, in int4 two nibbles to a byte, the even one low; behind the end of a row
/// are any. Factors of packs that neighbouring lanes read are neighbours, too.
struct RoundedMatrix {
  const std::uint32_t* values = nullptr;      // (rows, packs, 4)
  const float* scales = nullptr;              // (rows)
  const std::uint8_t* multipliers = nullptr;  // (rows, groups); null but in int4: 1
  const std::uint8_t* zeros = nullptr;  // (rows, groups); null: 128 in int8, 8 in int4, 0 in e4m3
  Code code = Code::int8;
  int packs = 0;        // of a row
  int group_shift = 0;  // a group of int4 is 1 << group_shift packs
};

// ---- elementwise.cu: one pass over memory ------------------------------------------------------

/// y = x, converted.  (n)
int convert(Operand y, Operand x, std::int64_t n, Stream stream);

/// y = rows `first` to `first + rows` of w.  y (rows, in), of less than 2^31 numbers
int dequantize(Operand y, const RoundedMatrix& w, int first, int rows, int in, Stream stream);

/// y = act(y) in place.  (n)
int activate(Operand y, std::int64_t n, Act act, Stream stream);

/// g = act(left half of both) · right half.  both (rows, 2·width), g (rows, width)
int act_mul(Operand g, Operand both, std::int64_t rows, int width, Act act, Stream stream);

/// x[n] = table[ids[n]].  ids (rows), table (V, width), x (rows, width) f32
int embed(float* x, const std::int32_t* ids, Operand table, std::int64_t rows, int width,
          Stream stream);

/// Patches as rows.  pixels (frames, 3, side, side) f32, y (frames·(side/patch)², 3·patch²)
int patchify(Operand y, const float* pixels, int frames, int side, int patch, Stream stream);

/// x[t, 0] = cls + pos[0], x[t, 1+p] = patches[t, p] + pos[1+p].  x (frames·(per_frame+1), width)
int add_positions(float* x, Operand patches, const float* cls, const float* positions, int frames,
                  int per_frame, int width, Stream stream);

/// y[t, p] = x[t, 1+p].  x (frames·(per_frame+1), width) f32
int select_patches(Operand y, const float* x, int frames, int per_frame, int width, Stream stream);

/// Adaptive pooling of a (t, h, w) grid of rows; see ops::pool3d.
struct Pool {
  int in[3], out[3];
  int width;
  bool average;
};
int pool3d(Operand y, Operand x, const Pool& pool, Stream stream);

// ---- sampling.cu: the next token ----------------------------------------------------------------

/// How it is chosen, see Sampler.
struct Sampling {
  /// To penalise, each once; then to exclude. Any may be no index.
  const std::int32_t* ids = nullptr;
  int penalised = 0, excluded = 0;
  float penalty = 1;
  float temperature = 0;
  int top_k = 0;
  float top_p = 1;
  double uniform = 0;
};

/// id[0] = the index that Sampler chooses of `count` logits, in which the given ids are penalised
/// and excluded; -1 if one is NaN or +inf, or if all are -inf. `candidates` (count) is for its use.
int sample(std::int32_t* id, float* logits, int count, const Sampling& sampling,
           std::uint64_t* candidates, Stream stream);

// ---- picture.cu: from frames to pixel values ----------------------------------------------------

/// Frames of one size in device memory, `frame_bytes` apart, rows `stride` apart; `first` is the
/// first byte of the window that is read.
struct Pictures {
  const std::uint8_t* first = nullptr;
  std::int64_t frame_bytes = 0, stride = 0;
  int pixel_bytes = 3;  // 1 (grey), 3 or 4
  bool blue_first = false;
};

/// One pass of Pillow's bicubic resampling, along x or y: each output is the sum of `count` inputs
/// from `first` on with fixed-point weights of 22 bits, rounded to 8 bits.
struct Resample {
  std::uint8_t* out = nullptr;  // (frames, rows, columns, 3), dense RGB
  Pictures in;
  const std::int32_t* taps = nullptr;  // (outputs, 3): first, where the weights begin, count
  const std::int32_t* weights = nullptr;
  int frames = 0, rows = 0, columns = 0;
  bool vertical = false;
};
int resample(const Resample& call, Stream stream);

/// A picture in NV12: luma (height, width), and pairs (Cb, Cr) of half the height and width; rows
/// are `luma_stride` and `chroma_stride` bytes apart. The factors are in 16 bits of fraction.
struct Nv12 {
  const std::uint8_t* luma = nullptr;
  const std::uint8_t* chroma = nullptr;
  std::int64_t luma_stride = 0, chroma_stride = 0;
  int luma_offset = 0, luma_factor = 0;
  int red_cr = 0, green_cb = 0, green_cr = 0, blue_cb = 0;  // green's are subtracted
};

/// out (height, width, 3), dense RGB; the arithmetic is YuvEncoding's (cuda.hpp).
int nv12_to_rgb(std::uint8_t* out, const Nv12& in, int width, int height, Stream stream);

/// out[t, c, y, x] = values[c, in[t, y, x, c]].  out (frames, 3, side, side), values (3, 256)
int normalise(float* out, const Pictures& in, const float* values, int frames, int side,
              Stream stream);

// ---- norm.cu: a row at a time ------------------------------------------------------------------

/// LayerNorm where there is a bias, RMSNorm where `bias` is null; statistics in f32.
struct Norm {
  const float* gain = nullptr;  // (width)
  const float* bias = nullptr;
  float eps = 1e-5f;
};

/// y = norm(x).  x, y (rows, width)
int norm(Operand y, const float* x, std::int64_t rows, int width, const Norm& norm, Stream stream);

/// Rows of x in e4m3: x[r, k] ≈ scales[r] · y[r, k], where the largest of a row becomes 448. The
/// scale of a row that is not finite is no number.  x (rows, width), y (rows, width) codes
int round_rows(std::uint8_t* y, float* scales, Operand x, std::int64_t rows, int width,
               Stream stream);

// ---- gemv.cu: few rows, which memory bounds -----------------------------------------------------

/// The most rows that the products of few rows take.
constexpr int kFewRows = 8;

/// y = act(x·Wᵀ + b), or y += x·Wᵀ + b where `add` is set (y is then f32).
/// x (rows, in), w (out, in), bias (out) f32 or null, y (rows, out); rows ≤ kFewRows.
struct FewRows {
  Operand y, x;
  const float* bias = nullptr;
  int rows = 1, out = 0, in = 0;
  Act act = Act::none;
  bool add = false;
};
int gemv(const FewRows& call, Operand w, Stream stream);
int gemv(const FewRows& call, const RoundedMatrix& w, Stream stream);

/// g = act(h·Wgᵀ) · (h·Wuᵀ).  h (rows, in), w (2·out, in): gate, then up; g (rows, out)
int gemv_glu(const FewRows& call, Operand w, Stream stream);
int gemv_glu(const FewRows& call, const RoundedMatrix& w, Stream stream);

/// Shared memory that a block of them needs.
int gemv_shared_bytes(int rows, int in);

/// y += x·Wᵀ + b as gemv() with `add`, then h = norm(y), for one row. `ended` is 0 in device
/// memory, and again 0 afterwards.
int gemv_norm(const FewRows& call, Operand w, Operand h, const Norm& norm, unsigned* ended,
              Stream stream);
int gemv_norm(const FewRows& call, const RoundedMatrix& w, Operand h, const Norm& norm,
              unsigned* ended, Stream stream);
int gemv_norm_shared_bytes(int out, int in);

// ---- attention.cu -------------------------------------------------------------------------------

/// softmax(q·kᵀ/√dim + mask)·v per head, over rows [query·dim | kv·dim | kv·dim] of qkv.
///
/// Without a cache (keys == null), qkv holds `batch` independent sequences of `rows` rows, and keys
/// and values are read from qkv. With one (batch 1), append() has written the call's keys and
/// values behind the `past[0]` rows that were there: keys, values (kv heads, capacity, dim). A
/// cache of 8 bits holds number + 128 as bytes, in units of a scale for each row of a head.
struct Attention {
  Operand o;    // (batch·wanted, query·dim): of the last `wanted` rows of each sequence
  Operand qkv;  // (batch·rows, (query+2·kv)·dim)
  const float* rope = nullptr;  // (context, dim): cos | sin of each position; or null
  void* keys = nullptr;         // in the type of qkv, or in 8 bits
  void* values = nullptr;
  float* scales = nullptr;  // of 8 bits: (2, kv heads, capacity), of keys and of values; else null
  const std::int32_t* past = nullptr;  // in device memory
  std::int64_t capacity = 0;           // rows of the cache
  std::int64_t bound = 0;              // at least past + rows, known to the host
  int rows = 0, wanted = 0, batch = 1;
  int query = 1, kv = 1, dim = 1;
  bool causal = false;
};

/// Rotates keys (if there is a rope) and writes keys and values of the call's rows into the cache,
/// at positions past[0] and on.
int append(const Attention& call, Stream stream);

/// Many rows: tiles on the tensor cores (f16, bf16) or in f32. Queries are rotated as they are
/// read.
int attend_tiles(const Attention& call, Stream stream);

/// Few rows (at most kFewRows, with a cache): the positions are split between blocks, and their
/// partial results combined. `partials`: attend_few_bytes() bytes of device memory.
int attend_few(const Attention& call, void* partials, Stream stream);
std::int64_t attend_few_bytes(const Attention& call);

}  // namespace pllava::cuda::kernels
