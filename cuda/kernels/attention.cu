// Attention in tiles for many rows, and split over the positions for few.
//
// Scores are kept in units of log2: exp(s/√dim - max) is one ex2 of s·log2(e)/√dim - max.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "launch.hpp"
#include "mma.cuh"
#include "rounded.cuh"
#include "simt.cuh"

namespace pllava::cuda::kernels {
namespace {

constexpr int kInvalid = 1;  // cudaErrorInvalidValue
constexpr int kMaxDim = 128;
constexpr float kLog2e = 1.4426950408889634f;

// ---- reading rows
// --------------------------------------------------------------------------------

/// Rows of one head: row p starts at first + p·stride.
template <class T>
struct Rows {
  const T* first;
  int stride;

  PLLAVA_DEVICE const T* at(int p) const { return first + std::int64_t{p} * stride; }
};

/// Rows of one head in a cache of 8 bits: they stand for scales[p] · (byte - 128).
template <class T>
struct ByteRows {
  const std::uint8_t* first;
  int stride;
  const float* scales;

  PLLAVA_DEVICE const std::uint8_t* at(int p) const { return first + std::int64_t{p} * stride; }
};

/// Head h of [query | kv | kv] heads in the rows of sequence b.
template <class T>
PLLAVA_DEVICE Rows<T> fresh_rows(const Attention& call, int b, int h) {
  const int width = (call.query + 2 * call.kv) * call.dim;
  const std::int64_t row = std::int64_t{b} * call.rows;
  return {static_cast<const T*>(call.qkv.data) + row * width + h * call.dim, width};
}

enum Part { kKeys, kValues };

/// Keys or values of kv head h in the rows of sequence b.
template <class T>
PLLAVA_DEVICE Rows<T> fresh_rows(const Attention& call, Part part, int b, int h) {
  return fresh_rows<T>(call, b, call.query + (part == kValues ? call.kv : 0) + h);
}

/// Scales of kv head h in a cache of 8 bits.
PLLAVA_DEVICE float* scales_of(const Attention& call, Part part, int h) {
  return call.scales + ((part == kValues ? call.kv : 0) + h) * call.capacity;
}

/// Kv head h in the cache, of T or of bytes.
template <class T, bool bytes>
PLLAVA_DEVICE auto cached_rows(const Attention& call, Part part, int h) {
  const void* const data = part == kKeys ? call.keys : call.values;
  const std::int64_t first = h * call.capacity * call.dim;
  if constexpr (bytes)
    return ByteRows<T>{static_cast<const std::uint8_t*>(data) + first, call.dim,
                       scales_of(call, part, h)};
  else
    return Rows<T>{static_cast<const T*>(data) + first, call.dim};
}

/// The same, or without a cache the rows of sequence b.
template <class T, bool bytes>
PLLAVA_DEVICE auto rows_of(const Attention& call, Part part, int b, int h) {
  if constexpr (!bytes)
    if (call.keys == nullptr) return fresh_rows<T>(call, part, b, h);
  return cached_rows<T, bytes>(call, part, h);
}

PLLAVA_DEVICE int past_of(const Attention& call) {
  return call.keys != nullptr ? call.past[0] : 0;
}

/// cos | sin of a position; null without a rope.
PLLAVA_DEVICE const float* angles_of(const Attention& call, int position) {
  return call.rope != nullptr ? call.rope + std::int64_t{position} * call.dim : nullptr;
}

/// A pack as it is loaded: in 4 registers, where an array of 16-bit numbers may take more.
using Words = Pack<std::uint32_t>;

template <class T>
PLLAVA_DEVICE Words load_words(const T* p) {
  return *reinterpret_cast<const Words*>(p);
}

/// The numbers in a pack.
PLLAVA_DEVICE void unpack(float (&x)[4], const Words& words, float) {
  std::memcpy(x, words.at, sizeof words);
}
template <class T>
PLLAVA_DEVICE void unpack(float (&x)[8], const Words& words, T) {
  PLLAVA_UNROLL
  for (int i = 0; i < 4; ++i) {
    x[2 * i] = to_float(T{static_cast<std::uint16_t>(words.at[i])});
    x[2 * i + 1] = to_float(T{static_cast<std::uint16_t>(words.at[i] >> 16)});
  }
}
template <class T>
PLLAVA_DEVICE Words packed_words(const float (&x)[8], T) {
  Words words;
  PLLAVA_UNROLL
  for (int i = 0; i < 4; ++i) words.at[i] = packed_pair<T>(x[2 * i], x[2 * i + 1]);
  return words;
}
PLLAVA_DEVICE Words packed_words(const float (&x)[4], float) {
  Words words;
  std::memcpy(words.at, x, sizeof words);
  return words;
}

/// Numbers d and on of a head's row of `dim`, rotated unless `angles` is null; zeros behind the
/// row. `packed`: packs are aligned, and one lies in one half of the row if it is to be rotated.
template <class T>
PLLAVA_DEVICE void read_row(float (&x)[Pack<T>::size], const T* row, int d, int dim,
                            const float* angles, bool packed) {
  constexpr int N = Pack<T>::size;
  const int half = dim / 2;
  if (!packed) {
    PLLAVA_UNROLL
    for (int i = 0; i < N; ++i) {
      const int e = d + i;
      x[i] = e < dim ? to_float(row[e]) : 0.0f;
      if (e >= dim || angles == nullptr) continue;
      const int angle = e < half ? e : e - half;
      const float other = e < half ? -to_float(row[e + half]) : to_float(row[e - half]);
      x[i] = x[i] * angles[angle] + other * angles[angle + half];
    }
    return;
  }
  unpack(x, d < dim ? load_words(row + d) : Words{}, T{});
  if (angles == nullptr || d >= dim) return;
  const bool lower = d < half;
  float y[N];
  unpack(y, load_words(lower ? row + d + half : row + d - half), T{});
  const float* const cosines = lower ? angles + d : angles + d - half;
  PLLAVA_UNROLL
  for (int i = 0; i < N; i += 4) {
    float cosine[4], sine[4];
    unpack(cosine, load_words(cosines + i), 0.0f);
    unpack(sine, load_words(cosines + half + i), 0.0f);
    PLLAVA_UNROLL
    for (int j = 0; j < 4; ++j)
      x[i + j] = x[i + j] * cosine[j] + (lower ? -y[i + j] : y[i + j]) * sine[j];
  }
}

template <class T>
PLLAVA_DEVICE Words read_words(const T* row, int d, int dim, const float* angles, bool packed) {
  float x[Pack<T>::size];
  read_row(x, row, d, dim, angles, packed);
  return packed_words(x, T{});
}

/// What few_kernel keeps of a row while it is on its way: a pack of T, or as many bytes with their
/// scale. read() gives the numbers in units of `scale`.
template <class T>
struct Fetched {
  Words words = {};

  PLLAVA_DEVICE static Fetched load(const Rows<T>& rows, int p, int d, int dim, bool packed) {
    if (!packed) return {read_words(rows.at(p), d, dim, nullptr, false)};
    return {d < dim ? load_words(rows.at(p) + d) : Words{}};
  }
  PLLAVA_DEVICE void read(float (&x)[Pack<T>::size]) const { unpack(x, words, T{}); }
  PLLAVA_DEVICE float scale() const { return 1.0f; }
};

/// `Count` bytes, moved at once.
template <int Count>
struct alignas(Count) Bytes {
  std::uint32_t at[Count / 4] = {};
};

template <class T>
struct FetchedBytes {
  static constexpr int size = Pack<T>::size;
  Bytes<size> bytes = {};
  float unit = 0.0f;

  PLLAVA_DEVICE static FetchedBytes load(const ByteRows<T>& rows, int p, int d, int dim,
                                         bool packed) {
    const std::uint8_t* const from = rows.at(p) + d;
    FetchedBytes fetched;
    fetched.unit = rows.scales[p];
    if (packed && d < dim) {
      fetched.bytes = *reinterpret_cast<const Bytes<size>*>(from);
    } else {
      PLLAVA_UNROLL
      for (int i = 0; i < size; ++i)
        fetched.bytes.at[i / 4] |= (d + i < dim ? from[i] : 128u) << (i % 4 * 8);
    }
    return fetched;
  }
  PLLAVA_DEVICE void read(float (&x)[size]) const {
    PLLAVA_UNROLL
    for (int i = 0; i < size / 4; ++i) {
      float part[4];
      kernels::unpack<Code::int8>(part, bytes.at[i], 128.0f);
      PLLAVA_UNROLL
      for (int j = 0; j < 4; ++j) x[4 * i + j] = part[j];
    }
  }
  PLLAVA_DEVICE float scale() const { return unit; }
};

/// A pack of row p, from d on; zeros behind the row.
template <class T>
PLLAVA_DEVICE Words row_words(const Rows<T>& rows, int p, int d, int dim, const float* angles,
                              bool packed) {
  return read_words(rows.at(p), d, dim, angles, packed);
}
template <class T>
PLLAVA_DEVICE Words row_words(const ByteRows<T>& rows, int p, int d, int dim, const float*,
                              bool packed) {
  const auto fetched = FetchedBytes<T>::load(rows, p, d, dim, packed);
  float x[Pack<T>::size];
  fetched.read(x);
  PLLAVA_UNROLL
  for (float& v : x) v *= fetched.scale();
  return packed_words(x, T{});
}

/// Whether rows can be read in packs.
template <class T>
bool is_packed(const Attention& call) {
  const auto aligned = [](const void* p) { return reinterpret_cast<std::uintptr_t>(p) % 16 == 0; };
  const int unit = Pack<T>::size * (call.rope != nullptr ? 2 : 1);
  return call.dim % unit == 0 && aligned(call.o.data) && aligned(call.qkv.data) &&
         aligned(call.keys) && aligned(call.values) && aligned(call.rope);
}

bool is_supported(const Attention& call) {
  return call.dim > 0 && call.dim <= kMaxDim && call.kv > 0 && call.query % call.kv == 0 &&
         call.wanted <= call.rows && call.o.type == call.qkv.type;
}

float scale_of(const Attention& call) {
  return 1.0f / std::sqrt(static_cast<float>(call.dim));
}

unsigned blocks_of(std::int64_t n, int size) {
  return static_cast<unsigned>((n + size - 1) / size);
}

// ---- append
// --------------------------------------------------------------------------------------

constexpr int kAppendThreads = 256;

template <class T>
PLLAVA_KERNEL(kAppendThreads, 1)
append_kernel(Attention call, bool packed) {
  constexpr int N = Pack<T>::size;
  const int dim = call.dim, packs = (dim + N - 1) / N;
  const std::int64_t i = std::int64_t{blockIdx.x} * kAppendThreads + threadIdx.x;
  if (i >= std::int64_t{call.rows} * call.kv * packs) return;
  const int d = static_cast<int>(i % packs) * N, head = static_cast<int>(i / packs % call.kv);
  const int n = static_cast<int>(i / packs / call.kv), position = call.past[0] + n;
  const T* const key = fresh_rows<T>(call, 0, call.query + head).at(n);
  const T* const value = fresh_rows<T>(call, 0, call.query + call.kv + head).at(n);
  const std::int64_t place = (head * call.capacity + position) * dim + d;
  T* const to_key = static_cast<T*>(call.keys) + place;
  T* const to_value = static_cast<T*>(call.values) + place;
  float rotated[N];
  read_row(rotated, key, d, dim, angles_of(call, position), packed);
  if (packed) {
    *reinterpret_cast<Words*>(to_key) = packed_words(rotated, T{});
    *reinterpret_cast<Words*>(to_value) = load_words(value + d);
  } else {
    for (int j = 0; j < N && d + j < dim; ++j) {
      to_key[j] = from_float<T>(rotated[j]);
      to_value[j] = value[d + j];
    }
  }
}

/// The number d of a head's row, rotated unless `angles` is null.
template <class T>
PLLAVA_DEVICE float read_number(const T* row, int d, int dim, const float* angles) {
  const float x = to_float(row[d]);
  if (angles == nullptr) return x;
  const int half = dim / 2, angle = d < half ? d : d - half;
  const float other = d < half ? -to_float(row[d + half]) : to_float(row[d - half]);
  return x * angles[angle] + other * angles[angle + half];
}

/// Into a cache of 8 bits. A warp rounds a row of a head, a key or a value, in units of a 127th of
/// its largest number. A row that is not finite gets a scale that is no number, so that it shows.
template <class T>
PLLAVA_KERNEL(kAppendThreads, 1)
append_bytes_kernel(Attention call) {
  constexpr int kMost = kMaxDim / kWarp;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const std::int64_t i =
      (std::int64_t{blockIdx.x} * kAppendThreads + threadIdx.x) / kWarp;  // row, head, part
  if (i >= std::int64_t{call.rows} * call.kv * 2) return;
  const Part part = i % 2 == 0 ? kKeys : kValues;
  const int head = static_cast<int>(i / 2 % call.kv), n = static_cast<int>(i / 2 / call.kv);
  const int dim = call.dim, position = call.past[0] + n;
  const T* const row = fresh_rows<T>(call, part, 0, head).at(n);
  const float* const angles = part == kKeys ? angles_of(call, position) : nullptr;
  float x[kMost] = {}, top = 0.0f, nothing = 0.0f;
  PLLAVA_UNROLL
  for (int j = 0; j < kMost; ++j) {
    const int d = j * kWarp + lane;
    if (d < dim) x[j] = read_number(row, d, dim, angles);
    top = fmaxf(top, fabsf(x[j]));
    nothing += x[j] - x[j];
  }
  top = warp_max(top);
  nothing = warp_sum(nothing);
  const float inverse = top > 0.0f ? 127.0f / top : 0.0f;
  auto* const out = static_cast<std::uint8_t*>(part == kKeys ? call.keys : call.values) +
                    (head * call.capacity + position) * dim;
  PLLAVA_UNROLL
  for (int j = 0; j < kMost; ++j) {
    const int d = j * kWarp + lane;
    const float rounded = rintf(fminf(fmaxf(x[j] * inverse, -127.0f), 127.0f));
    if (d < dim) out[d] = static_cast<std::uint8_t>(static_cast<int>(rounded) + 128);
  }
  if (lane == 0) scales_of(call, part, head)[position] = top / 127.0f + nothing;
}

// ---- tiles on the tensor cores
// ---------------------------------------------------------------------

constexpr int kTileThreads = 128;
constexpr int kTileRows = 64;  // of queries, 16 to a warp, and of keys
constexpr int kSpans = kTileRows / 8;

/// A tile of kTileRows rows of D 16-bit numbers in shared memory, as chunks of 8, so that 8 rows of
/// a chunk lie in different banks.
template <int D>
struct Tile {
  static constexpr int chunks = D / 8;
  static constexpr bool swizzled = chunks % 8 == 0;
  static constexpr int stride = swizzled ? chunks : chunks | 1;
  static constexpr int size = kTileRows * stride * 8;

  static PLLAVA_DEVICE int at(int row, int chunk) {
    return (row * stride + (swizzled ? chunk ^ (row & 7) : chunk)) * 8;
  }
};

/// Starts to load the rows from `begin` on, rotated if there is a `rope`, which no packed rows
/// have; zeros at `end` and behind it.
template <class T, int D, bool packed, class Source>
PLLAVA_DEVICE void load_tile(T* tile, const Source& rows, int begin, int end, int dim,
                             const float* rope) {
  constexpr int chunks = Tile<D>::chunks;
  const int thread = static_cast<int>(threadIdx.x);
  if constexpr (packed && std::is_same_v<Source, Rows<T>>) {
    constexpr bool even = kTileThreads % chunks == 0;  // then a thread has one column
    PLLAVA_UNROLL
    for (int i = 0; i < kTileRows * chunks / kTileThreads; ++i) {
      const int at = i * kTileThreads + thread;
      const int row = even ? i * (kTileThreads / chunks) + thread / chunks : at / chunks;
      const int chunk = even ? thread % chunks : at % chunks;
      const bool valid = begin + row < end && chunk * 8 < dim;
      const T* const from = rows.at(min(begin + row, end - 1)) + min(chunk * 8, dim - 8);
      copy_async(tile + Tile<D>::at(row, chunk), from, valid);
    }
  } else {
    for (int at = thread; at < kTileRows * chunks; at += kTileThreads) {
      const int row = at / chunks, chunk = at % chunks, p = begin + row;
      const float* const angles = rope != nullptr ? rope + std::int64_t{p} * dim : nullptr;
      *reinterpret_cast<Words*>(tile + Tile<D>::at(row, chunk)) =
          p < end ? row_words(rows, p, chunk * 8, dim, angles, packed) : Words{};
    }
  }
}

/// d0 += a·b0, d1 += a·b1, with b0 and b1 as load_matrices() gives them.
template <class T>
PLLAVA_DEVICE void multiply(float (&d0)[4], float (&d1)[4], const std::uint32_t (&a)[4],
                            const std::uint32_t (&b)[4]) {
  const std::uint32_t b0[2] = {b[0], b[1]}, b1[2] = {b[2], b[3]};
  mma_16x8x16<T>(d0, a, b0);
  mma_16x8x16<T>(d1, a, b1);
}

/// A block computes kTileRows rows of one head. Keys and values come in tiles, the next one while
/// one is computed with.
template <class T, int D, bool packed, bool bytes>
PLLAVA_KERNEL(kTileThreads, 2)
tiles_kernel(Attention call, float scale) {
  using Layout = Tile<D>;
  PLLAVA_DYNAMIC_SHARED(memory);
  T* const stages = reinterpret_cast<T*>(memory);  // keys, values; keys, values

  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int head = static_cast<int>(blockIdx.x), b = static_cast<int>(blockIdx.z);
  const int kv_head = head / (call.query / call.kv);
  // Under a causal mask the last rows take longest, so they go first.
  const int first = static_cast<int>(gridDim.y - 1 - blockIdx.y) * kTileRows;
  const int dim = call.dim, past = past_of(call), total = past + call.rows;
  const int skipped = call.rows - call.wanted;  // rows in front of those wanted
  const int last = min(first + kTileRows, call.wanted) - 1;
  const int end = call.causal ? past + skipped + last + 1 : total;
  const int tiles = (end + kTileRows - 1) / kTileRows;

  const auto keys = rows_of<T, bytes>(call, kKeys, b, kv_head);
  const auto values = rows_of<T, bytes>(call, kValues, b, kv_head);
  const float* const key_rope = call.keys == nullptr ? call.rope : nullptr;
  load_tile<T, D, packed>(stages, keys, 0, end, dim, key_rope);
  load_tile<T, D, packed>(stages + Layout::size, values, 0, end, dim, nullptr);
  commit_async();

  // Queries go through the second stage into registers.
  std::uint32_t q[D / 16][4];
  {
    T* const tile = stages + 2 * Layout::size;
    const Rows<T> queries = fresh_rows<T>(call, b, head);
    for (int at = static_cast<int>(threadIdx.x); at < kTileRows * Layout::chunks;
         at += kTileThreads) {
      const int row = at / Layout::chunks, chunk = at % Layout::chunks, n = skipped + first + row;
      *reinterpret_cast<Words*>(tile + Layout::at(row, chunk)) =
          n < call.rows
              ? read_words(queries.at(n), chunk * 8, dim, angles_of(call, past + n), packed)
              : Words{};
    }
    __syncthreads();
    PLLAVA_UNROLL
    for (int k = 0; k < D / 16; ++k)
      load_matrices(q[k], tile + Layout::at(warp * 16 + lane % 16, 2 * k + lane / 16));
  }

  // This lane has rows lane/4 and lane/4 + 8 of the warp's 16.
  const int warp_sees = call.causal ? past + skipped + first + warp * 16 + 1 : total;
  const bool idle = first + warp * 16 >= call.wanted;
  const int sees = call.causal ? warp_sees + lane / 4 : total, more = call.causal ? 8 : 0;
  float o[D / 8][4] = {}, high[2] = {-INFINITY, -INFINITY}, sum[2] = {0.0f, 0.0f};
  for (int t = 0; t < tiles; ++t) {
    wait_async<0>();
    __syncthreads();  // tile t is there, and nobody reads the tile before it any more
    if (t + 1 < tiles) {
      T* const next = stages + (t + 1) % 2 * (2 * Layout::size);
      load_tile<T, D, packed>(next, keys, (t + 1) * kTileRows, end, dim, key_rope);
      load_tile<T, D, packed>(next + Layout::size, values, (t + 1) * kTileRows, end, dim, nullptr);
      commit_async();
    }
    if (idle || t * kTileRows >= warp_sees + 15) continue;
    const T* const key_tile = stages + t % 2 * (2 * Layout::size);
    const T* const value_tile = key_tile + Layout::size;

    float s[kSpans][4] = {};
    PLLAVA_UNROLL
    for (int k = 0; k < D / 16; ++k) {
      PLLAVA_UNROLL
      for (int n = 0; n < kSpans; n += 2) {
        std::uint32_t part[4];
        load_matrices(
            part, key_tile + Layout::at(n * 8 + lane / 16 * 8 + lane % 8, 2 * k + lane / 8 % 2));
        multiply<T>(s[n], s[n + 1], q[k], part);
      }
    }
    if ((t + 1) * kTileRows > warp_sees) {
      PLLAVA_UNROLL
      for (int n = 0; n < kSpans; ++n) {
        PLLAVA_UNROLL
        for (int j = 0; j < 4; ++j) {
          const int p = t * kTileRows + n * 8 + lane % 4 * 2 + j % 2;
          if (p >= sees + j / 2 * more) s[n][j] = -INFINITY;
        }
      }
    }

    // Position 0 is seen by every row, so `high` is finite from the first tile on.
    PLLAVA_UNROLL
    for (int i = 0; i < 2; ++i) {
      float top = high[i];
      PLLAVA_UNROLL
      for (int n = 0; n < kSpans; ++n) top = fmaxf(top, fmaxf(s[n][2 * i], s[n][2 * i + 1]));
      top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 1));
      top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 2));
      const float shrink = fast_exp2((high[i] - top) * scale), base = top * scale;
      high[i] = top;
      sum[i] *= shrink;
      PLLAVA_UNROLL
      for (int n = 0; n < D / 8; ++n) {
        o[n][2 * i] *= shrink;
        o[n][2 * i + 1] *= shrink;
      }
      PLLAVA_UNROLL
      for (int n = 0; n < kSpans; ++n) {
        s[n][2 * i] = fast_exp2(s[n][2 * i] * scale - base);
        s[n][2 * i + 1] = fast_exp2(s[n][2 * i + 1] * scale - base);
        sum[i] += s[n][2 * i] + s[n][2 * i + 1];
      }
    }

    PLLAVA_UNROLL
    for (int k = 0; k < kTileRows / 16; ++k) {
      const float(&low)[4] = s[2 * k], (&upper)[4] = s[2 * k + 1];
      const std::uint32_t p[4] = {packed_pair<T>(low[0], low[1]), packed_pair<T>(low[2], low[3]),
                                  packed_pair<T>(upper[0], upper[1]),
                                  packed_pair<T>(upper[2], upper[3])};
      PLLAVA_UNROLL
      for (int n = 0; n < D / 8; n += 2) {
        std::uint32_t part[4];
        load_transposed(part, value_tile + Layout::at(k * 16 + lane % 16, n + lane / 16));
        multiply<T>(o[n], o[n + 1], p, part);
      }
    }
  }

  PLLAVA_UNROLL
  for (int i = 0; i < 2; ++i) {
    sum[i] += __shfl_xor_sync(0xffffffffu, sum[i], 1);
    sum[i] += __shfl_xor_sync(0xffffffffu, sum[i], 2);
    const int m = first + warp * 16 + lane / 4 + 8 * i;
    if (m >= call.wanted) continue;
    const float weight = 1.0f / sum[i];
    T* const out = static_cast<T*>(call.o.data) +
                   ((std::int64_t{b} * call.wanted + m) * call.query + head) * dim;
    PLLAVA_UNROLL
    for (int n = 0; n < D / 8; ++n) {
      const int d = n * 8 + lane % 4 * 2;
      const float x = o[n][2 * i] * weight, y = o[n][2 * i + 1] * weight;
      if (packed) {
        if (d < dim) *reinterpret_cast<std::uint32_t*>(out + d) = packed_pair<T>(x, y);
      } else {
        if (d < dim) out[d] = from_float<T>(x);
        if (d + 1 < dim) out[d + 1] = from_float<T>(y);
      }
    }
  }
}

// ---- tiles in f32
// ----------------------------------------------------------------------------------

constexpr int kPlainRows = 16;  // 4 to a warp
constexpr int kPlainKeys = kWarp;
constexpr int kPlainShared =
    (kPlainRows * kMaxDim + kPlainKeys * (2 * kMaxDim + 1) + kPlainRows * kPlainKeys) * 4;

/// The same with plain arithmetic: a lane has a key for the scores, and every 32nd column for the
/// sums.
template <bool bytes>
PLLAVA_KERNEL(kTileThreads, 2)
tiles_f32_kernel(Attention call, float scale) {
  constexpr int kRows = kPlainRows / (kTileThreads / kWarp), kColumns = kMaxDim / kWarp;
  PLLAVA_DYNAMIC_SHARED(memory);
  float* const q = reinterpret_cast<float*>(memory);                // (kPlainRows, kMaxDim)
  float* const key_tile = q + kPlainRows * kMaxDim;                 // (kPlainKeys, kMaxDim + 1)
  float* const value_tile = key_tile + kPlainKeys * (kMaxDim + 1);  // (kPlainKeys, kMaxDim)
  float* const p = value_tile + kPlainKeys * kMaxDim;               // (kPlainRows, kPlainKeys)

  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int head = static_cast<int>(blockIdx.x), b = static_cast<int>(blockIdx.z);
  const int kv_head = head / (call.query / call.kv);
  const int first = static_cast<int>(gridDim.y - 1 - blockIdx.y) * kPlainRows;
  const int dim = call.dim, past = past_of(call), total = past + call.rows;
  const int skipped = call.rows - call.wanted;
  const int last = min(first + kPlainRows, call.wanted) - 1;
  const int end = call.causal ? past + skipped + last + 1 : total;

  const auto keys = rows_of<float, bytes>(call, kKeys, b, kv_head);
  const auto values = rows_of<float, bytes>(call, kValues, b, kv_head);
  const Rows<float> queries = fresh_rows<float>(call, b, head);
  for (int row = warp; row < kPlainRows; row += kTileThreads / kWarp)
    for (int d = lane * 4; d < dim; d += kWarp * 4) {
      const int n = skipped + first + row;
      float x[4] = {};
      if (n < call.rows) read_row(x, queries.at(n), d, dim, angles_of(call, past + n), false);
      for (int j = 0; j < 4; ++j) q[row * kMaxDim + d + j] = x[j];
    }

  float o[kRows][kColumns] = {}, high[kRows], sum[kRows];
  for (int r = 0; r < kRows; ++r) {
    high[r] = -INFINITY;
    sum[r] = 0.0f;
  }
  for (int begin = 0; begin < end; begin += kPlainKeys) {
    __syncthreads();
    for (int row = warp; row < kPlainKeys; row += kTileThreads / kWarp)
      for (int d = lane * 4; d < dim; d += kWarp * 4) {
        const int at = begin + row;
        float x[4] = {}, y[4] = {};
        if (at < end) {
          const float* const angles = call.keys == nullptr ? angles_of(call, at) : nullptr;
          unpack(x, row_words(keys, at, d, dim, angles, false), 0.0f);
          unpack(y, row_words(values, at, d, dim, nullptr, false), 0.0f);
        }
        for (int j = 0; j < 4; ++j) {
          key_tile[row * (kMaxDim + 1) + d + j] = x[j];
          value_tile[row * kMaxDim + d + j] = y[j];
        }
      }
    __syncthreads();
    for (int r = 0; r < kRows; ++r) {
      const int row = warp * kRows + r;
      const int sees = call.causal ? past + skipped + first + row + 1 : total;
      float s = 0.0f;
      for (int d = 0; d < dim; ++d) s += q[row * kMaxDim + d] * key_tile[lane * (kMaxDim + 1) + d];
      s = begin + lane < min(sees, end) ? s * scale : -INFINITY;
      const float top = fmaxf(high[r], warp_max(s)), shrink = expf(high[r] - top);
      const float weight = expf(s - top);
      p[row * kPlainKeys + lane] = weight;
      high[r] = top;
      sum[r] = sum[r] * shrink + weight;
      for (int c = 0; c < kColumns; ++c) o[r][c] *= shrink;
    }
    __syncwarp();
    for (int key = 0; key < kPlainKeys; ++key)
      for (int c = 0; c < kColumns; ++c) {
        const int d = c * kWarp + lane;
        if (d >= dim) continue;
        for (int r = 0; r < kRows; ++r)
          o[r][c] += p[(warp * kRows + r) * kPlainKeys + key] * value_tile[key * kMaxDim + d];
      }
  }
  for (int r = 0; r < kRows; ++r) {
    const float weight = 1.0f / warp_sum(sum[r]);
    const int m = first + warp * kRows + r;
    if (m >= call.wanted) continue;
    float* const out = static_cast<float*>(call.o.data) +
                       ((std::int64_t{b} * call.wanted + m) * call.query + head) * dim;
    for (int c = 0; c < kColumns; ++c)
      if (c * kWarp + lane < dim) out[c * kWarp + lane] = o[r][c] * weight;
  }
}

// ---- few rows
// --------------------------------------------------------------------------------------

constexpr int kFewThreads = 128;
constexpr int kFewWarps = kFewThreads / kWarp;
constexpr int kFewBlocks = 264;  // to split into: two for each of a large GPU's 132 processors
constexpr int kFewChunk = 32;    // the fewest positions of a block

/// A function of what the host knows, so that a captured graph stays right as the past grows.
int splits_of(const Attention& call) {
  const unsigned of_heads = blocks_of(kFewBlocks, call.kv);
  const unsigned of_length = blocks_of(call.bound, kFewChunk);
  const unsigned splits = of_heads < of_length ? of_heads : of_length;
  return splits > 1 ? static_cast<int>(splits) : 1;
}

/// Positions of a block, from the real length.
PLLAVA_DEVICE int chunk_of(int total, int splits) {
  return max((total + splits - 1) / splits, kFewChunk);
}

/// Partial results: for each wanted row, query head and split the sums over the values (dim), and
/// behind all of them the maximum and the sum of the weights (2).
struct Partials {
  float *sums, *weights;

  PLLAVA_DEVICE Partials(float* data, const Attention& call, int splits)
      : sums(data), weights(data + std::int64_t{call.wanted} * call.query * splits * call.dim) {}
};

/// exp2(x - top), and 0 if there was nothing.
PLLAVA_DEVICE float weight_of(float x, float top) {
  return x == -INFINITY ? 0.0f : fast_exp2(x - top);
}

/// A block takes the queries of one kv head, R at a time, over one chunk of positions. `lanes`
/// lanes share a position, each with a pack of the row, and have `unroll` positions in flight.
template <class T, int lanes, int R, int unroll, bool packed, bool bytes>
PLLAVA_KERNEL(kFewThreads, 2)
few_kernel(Attention call, float* data, float scale) {
  using Fetch = std::conditional_t<bytes, FetchedBytes<T>, Fetched<T>>;
  constexpr int N = Pack<T>::size, kWidth = lanes * N, kTeams = kFewThreads / lanes;
  constexpr int kStep = kTeams * unroll;
  PLLAVA_SHARED float sums[kFewWarps][R][kWidth];
  PLLAVA_SHARED float tops[kFewWarps][R], totals[kFewWarps][R];

  const int split = static_cast<int>(blockIdx.x), splits = static_cast<int>(gridDim.x);
  const int kv_head = static_cast<int>(blockIdx.y), group = call.query / call.kv, dim = call.dim;
  const int past = call.past[0], total = past + call.rows, chunk = chunk_of(total, splits);
  const int begin = split * chunk, end = min(begin + chunk, total);
  if (begin >= end) return;

  const int thread = static_cast<int>(threadIdx.x), warp = thread / kWarp;
  const int team = thread / lanes, d = thread % lanes * N;
  const auto keys = cached_rows<T, bytes>(call, kKeys, kv_head);
  const auto values = cached_rows<T, bytes>(call, kValues, kv_head);
  const Partials partials(data, call, splits);
  const int queries = call.wanted * group;

  for (int done = 0; done < queries; done += R) {
    float q[R][N], o[R][N] = {}, high[R], sum[R];
    int sees[R];
    PLLAVA_UNROLL
    for (int r = 0; r < R; ++r) {
      const int at = min(done + r, queries - 1), n = call.rows - call.wanted + at / group;
      const Rows<T> rows = fresh_rows<T>(call, 0, kv_head * group + at % group);
      read_row(q[r], rows.at(n), d, dim, angles_of(call, past + n), packed);
      PLLAVA_UNROLL
      for (int i = 0; i < N; ++i) q[r][i] *= scale;
      sees[r] = call.causal ? min(past + n + 1, end) : end;
      high[r] = -INFINITY;
      sum[r] = 0.0f;
    }

    // The next positions are on their way while these are computed with.
    Fetch next_key[unroll], next_value[unroll];
    const auto load = [&](int start) {
      PLLAVA_UNROLL
      for (int u = 0; u < unroll; ++u) {
        const int p = min(start + u * kTeams + team, end - 1);
        next_key[u] = Fetch::load(keys, p, d, dim, packed);
        next_value[u] = Fetch::load(values, p, d, dim, packed);
      }
    };
    load(begin);
    for (int start = begin; start < end; start += kStep) {
      Fetch key[unroll], value[unroll];
      PLLAVA_UNROLL
      for (int u = 0; u < unroll; ++u) {
        key[u] = next_key[u];
        value[u] = next_value[u];
      }
      if (start + kStep < end) load(start + kStep);
      PLLAVA_UNROLL
      for (int r = 0; r < R; ++r) {
        float s[unroll], top = high[r];
        PLLAVA_UNROLL
        for (int u = 0; u < unroll; ++u) {
          float x[N];
          key[u].read(x);
          s[u] = 0.0f;
          PLLAVA_UNROLL
          for (int i = 0; i < N; ++i) s[u] += q[r][i] * x[i];
          PLLAVA_UNROLL
          for (int other = lanes / 2; other > 0; other /= 2)
            s[u] += __shfl_xor_sync(0xffffffffu, s[u], other);
          s[u] *= key[u].scale();
          if (start + u * kTeams + team >= sees[r]) s[u] = -INFINITY;
          top = fmaxf(top, s[u]);
        }
        const float shrink = weight_of(high[r], top);
        high[r] = top;
        sum[r] *= shrink;
        PLLAVA_UNROLL
        for (int i = 0; i < N; ++i) o[r][i] *= shrink;
        PLLAVA_UNROLL
        for (int u = 0; u < unroll; ++u) {
          float x[N];
          value[u].read(x);
          float weight = weight_of(s[u], top);
          sum[r] += weight;
          weight *= value[u].scale();
          PLLAVA_UNROLL
          for (int i = 0; i < N; ++i) o[r][i] += weight * x[i];
        }
      }
    }

    // The teams of a warp, then the warps, become one.
    PLLAVA_UNROLL
    for (int r = 0; r < R; ++r) {
      PLLAVA_UNROLL
      for (int other = lanes; other < kWarp; other *= 2) {
        const float theirs = __shfl_xor_sync(0xffffffffu, high[r], other);
        const float top = fmaxf(high[r], theirs), weight = weight_of(high[r], top);
        high[r] = top;
        sum[r] *= weight;
        sum[r] += __shfl_xor_sync(0xffffffffu, sum[r], other);
        PLLAVA_UNROLL
        for (int i = 0; i < N; ++i) {
          o[r][i] *= weight;
          o[r][i] += __shfl_xor_sync(0xffffffffu, o[r][i], other);
        }
      }
      if (thread % kWarp >= lanes) continue;
      PLLAVA_UNROLL
      for (int i = 0; i < N; ++i) sums[warp][r][d + i] = o[r][i];
      if (d == 0) {
        tops[warp][r] = high[r];
        totals[warp][r] = sum[r];
      }
    }
    __syncthreads();
    for (int r = 0; r < R && done + r < queries; ++r) {
      const int m = (done + r) / group, head = kv_head * group + (done + r) % group;
      const std::int64_t slot = (std::int64_t{m} * call.query + head) * splits + split;
      float top = -INFINITY, weights = 0.0f, x = 0.0f;
      for (int w = 0; w < kFewWarps; ++w) top = fmaxf(top, tops[w][r]);
      for (int w = 0; w < kFewWarps; ++w) {
        const float weight = weight_of(tops[w][r], top);
        weights += weight * totals[w][r];
        if (thread < dim) x += weight * sums[w][r][thread];
      }
      if (thread < dim) partials.sums[slot * dim + thread] = x;
      if (thread == 0) {
        partials.weights[2 * slot] = top;
        partials.weights[2 * slot + 1] = weights;
      }
    }
    __syncthreads();
  }
}

/// A block writes one head of one row.
template <class T>
PLLAVA_KERNEL(kMaxDim, 1)
combine_kernel(Attention call, float* data, int splits) {
  const int head = static_cast<int>(blockIdx.x), m = static_cast<int>(blockIdx.y);
  const int d = static_cast<int>(threadIdx.x), dim = call.dim;
  if (d >= dim) return;
  const int total = call.past[0] + call.rows, chunk = chunk_of(total, splits);
  const int used = (total + chunk - 1) / chunk;
  const Partials partials(data, call, splits);
  const std::int64_t row = std::int64_t{m} * call.query + head;
  const float* const weights = partials.weights + 2 * (row * splits);
  const float* const sums = partials.sums + row * splits * dim + d;
  float top = -INFINITY, sum = 0.0f, x = 0.0f;
  for (int s = 0; s < used; ++s) top = fmaxf(top, weights[2 * s]);
  for (int s = 0; s < used; ++s) {
    const float weight = weight_of(weights[2 * s], top);
    sum += weight * weights[2 * s + 1];
    x += weight * sums[std::int64_t{s} * dim];
  }
  static_cast<T*>(call.o.data)[row * dim + d] = from_float<T>(x / sum);
}

template <class T, int lanes, bool bytes>
int launch_few(const Attention& call, float* partials, int splits, Stream stream) {
  const auto start = [&](auto kernel) {
    const Grid grid = {static_cast<unsigned>(splits), static_cast<unsigned>(call.kv)};
    return launch(kernel, grid, kFewThreads, 0, stream, call, partials, scale_of(call) * kLog2e);
  };
  const int queries = call.wanted * (call.query / call.kv);
  if (!is_packed<T>(call)) return start(few_kernel<T, lanes, 4, 1, false, bytes>);
  if (queries == 1) return start(few_kernel<T, lanes, 1, 4, true, bytes>);
  if (queries == 2) return start(few_kernel<T, lanes, 2, 4, true, bytes>);
  if (queries <= 4) return start(few_kernel<T, lanes, 4, 2, true, bytes>);
  return start(few_kernel<T, lanes, 8, 2, true, bytes>);
}

template <class T, bool bytes>
int launch_few(const Attention& call, float* partials, int splits, Stream stream) {
  if constexpr (std::is_same_v<T, float>)
    return launch_few<T, 32, bytes>(call, partials, splits, stream);
  else
    return call.dim <= 64 ? launch_few<T, 8, bytes>(call, partials, splits, stream)
                          : launch_few<T, 16, bytes>(call, partials, splits, stream);
}

template <class T, int D, bool packed, bool bytes = false>
int launch_tiles(const Attention& call, Stream stream) {
  const Grid grid = {static_cast<unsigned>(call.query), blocks_of(call.wanted, kTileRows),
                     static_cast<unsigned>(call.batch)};
  return launch(tiles_kernel<T, D, packed, bytes>, grid, kTileThreads, 4 * Tile<D>::size * 2,
                stream, call, scale_of(call) * kLog2e);
}

template <class T>
int launch_tiles(const Attention& call, Stream stream) {
  if (call.scales != nullptr) {
    if (!is_packed<T>(call)) return launch_tiles<T, 128, false, true>(call, stream);
    return call.dim <= 64 ? launch_tiles<T, 64, true, true>(call, stream)
                          : launch_tiles<T, 128, true, true>(call, stream);
  }
  const bool rotates_keys = call.keys == nullptr && call.rope != nullptr;
  if (!is_packed<T>(call) || rotates_keys) {
    if (call.dim <= 16) return launch_tiles<T, 16, false>(call, stream);
    if (call.dim <= 64) return launch_tiles<T, 64, false>(call, stream);
    return launch_tiles<T, 128, false>(call, stream);
  }
  if (call.dim <= 16) return launch_tiles<T, 16, true>(call, stream);
  if (call.dim <= 32) return launch_tiles<T, 32, true>(call, stream);
  if (call.dim <= 64) return launch_tiles<T, 64, true>(call, stream);
  if (call.dim <= 80) return launch_tiles<T, 80, true>(call, stream);
  if (call.dim <= 96) return launch_tiles<T, 96, true>(call, stream);
  return launch_tiles<T, 128, true>(call, stream);
}

}  // namespace

int append(const Attention& call, Stream stream) {
  if (!is_supported(call)) return kInvalid;
  return with_type(call.qkv.type, [&](auto zero) {
    using T = decltype(zero);
    if (call.scales != nullptr) {
      const std::int64_t threads = std::int64_t{call.rows} * call.kv * 2 * kWarp;
      return launch(append_bytes_kernel<T>, {blocks_of(threads, kAppendThreads)}, kAppendThreads, 0,
                    stream, call);
    }
    const int packs = (call.dim + Pack<T>::size - 1) / Pack<T>::size;
    const unsigned blocks = blocks_of(std::int64_t{call.rows} * call.kv * packs, kAppendThreads);
    return launch(append_kernel<T>, {blocks}, kAppendThreads, 0, stream, call, is_packed<T>(call));
  });
}

int attend_tiles(const Attention& call, Stream stream) {
  if (!is_supported(call)) return kInvalid;
  return with_type(call.qkv.type, [&](auto zero) {
    using T = decltype(zero);
    if constexpr (std::is_same_v<T, float>) {
      const Grid grid = {static_cast<unsigned>(call.query), blocks_of(call.wanted, kPlainRows),
                         static_cast<unsigned>(call.batch)};
      return launch(call.scales != nullptr ? tiles_f32_kernel<true> : tiles_f32_kernel<false>, grid,
                    kTileThreads, kPlainShared, stream, call, scale_of(call));
    } else {
      return launch_tiles<T>(call, stream);
    }
  });
}

int attend_few(const Attention& call, void* partials, Stream stream) {
  if (!is_supported(call) || call.keys == nullptr || call.rows > kFewRows || call.batch != 1)
    return kInvalid;
  if (call.wanted == 0) return 0;
  const int splits = splits_of(call);
  const auto data = static_cast<float*>(partials);
  return with_type(call.qkv.type, [&](auto zero) {
    using T = decltype(zero);
    const int status = call.scales != nullptr ? launch_few<T, true>(call, data, splits, stream)
                                              : launch_few<T, false>(call, data, splits, stream);
    if (status != 0) return status;
    const Grid grid = {static_cast<unsigned>(call.query), static_cast<unsigned>(call.wanted)};
    return launch(combine_kernel<T>, grid, kMaxDim, 0, stream, call, data, splits);
  });
}

std::int64_t attend_few_bytes(const Attention& call) {
  return std::int64_t{call.wanted} * call.query * splits_of(call) * (call.dim + 2) *
         static_cast<std::int64_t>(sizeof(float));
}

}  // namespace pllava::cuda::kernels
