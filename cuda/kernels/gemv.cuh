// Linear layers by GEMV, for up to kMaxGemvRows rows of x. Each weight is read once, 16 bytes a
// thread at a time, and multiplied with all rows of x, which are in shared memory. The kernels are
// bound by memory bandwidth: a block of four warps owns a few outputs, and every lane has several
// loads in flight.
#pragma once

#include "quantized.cuh"
#include "simt.cuh"

namespace pllava::cuda::kernels {

constexpr int kGemvThreads = 128;
constexpr int kGemvWarps = kGemvThreads / kWarp;

// ---- operands whose type is known at run time ---------------------------------------------------

/// x[i] as f32. x is small and stays in the cache, so a branch on its type costs little.
PLLAVA_DEVICE float load_any(const Operand& x, std::int64_t i) {
  switch (x.type) {
    case Type::f32: return static_cast<const float*>(x.data)[i];
    case Type::f16: return to_float(static_cast<const f16*>(x.data)[i]);
    case Type::bf16: return to_float(static_cast<const bf16*>(x.data)[i]);
  }
  return 0;
}

PLLAVA_DEVICE void store_any(const Operand& y, std::int64_t i, float v) {
  switch (y.type) {
    case Type::f32: static_cast<float*>(y.data)[i] = v; return;
    case Type::f16: static_cast<f16*>(y.data)[i] = from_float<f16>(v); return;
    case Type::bf16: static_cast<bf16*>(y.data)[i] = from_float<bf16>(v); return;
  }
}

// ---- rows of x in shared memory -----------------------------------------------------------------

/// A gap after every run of values spreads 16-byte reads over all banks, whether the lanes read 4,
/// 8, 16 or 32 values apart.
constexpr int kRun = 32, kGap = 4;
static_assert(kRun % Pack<float>::size == 0 && kGap % Pack<float>::size == 0,
              "reads of 16 bytes are aligned");

/// Index of value k of a row.
PLLAVA_DEVICE int shared_index(int k) {
  return k + k / kRun * kGap;
}

/// Floats of a row, which is padded to whole runs.
inline int shared_stride(int in) {
  return (in + kRun - 1) / kRun * (kRun + kGap);
}

/// Copies x (rows, in) to shared memory as f32, with zeros as padding and as missing rows. Ends
/// with a barrier.
template <int Rows>
PLLAVA_DEVICE void load_rows(float* shared, const Operand& x, int rows, int in, int stride) {
  const int depth = stride / (kRun + kGap) * kRun;
  for (int r = 0; r < Rows; ++r)
    for (int k = static_cast<int>(threadIdx.x); k < depth; k += static_cast<int>(blockDim.x))
      shared[r * stride + shared_index(k)] =
          r < rows && k < in ? load_any(x, static_cast<std::int64_t>(r) * in + k) : 0.0f;
  __syncthreads();
}

/// `Count` values of a row, 16 bytes at a time.
template <int Count>
PLLAVA_DEVICE void load_shared(float (&values)[Count], const float* x) {
  static_assert(Count % Pack<float>::size == 0);
  PLLAVA_UNROLL
  for (int i = 0; i < Count; i += 4) {
    const auto pack = *reinterpret_cast<const Pack<float>*>(x + i);
    PLLAVA_UNROLL
    for (int j = 0; j < 4; ++j) values[i + j] = pack.at[j];
  }
}

// ---- weights ------------------------------------------------------------------------------------

/// 16 bytes of a weight, which no other block reads.
template <class T>
PLLAVA_DEVICE Pack<T> load_streaming(const T* p) {
#ifdef __CUDA_ARCH__
  const int4 raw = __ldcs(reinterpret_cast<const int4*>(p));
  return *reinterpret_cast<const Pack<T>*>(&raw);
#else
  return *reinterpret_cast<const Pack<T>*>(p);
#endif
}

/// A matrix (rows, in) of T.
template <class T>
struct UnquantizedWeights {
  const T* data;
  int in;

  /// Adds this lane's part of the dot products of the matrix rows `outputs` with all rows of x.
  template <int Rows, int Outputs>
  PLLAVA_DEVICE void multiply(float (&sums)[Outputs][Rows], const int (&outputs)[Outputs],
                              const float* x, int stride, int lane) const {
    constexpr int kSize = Pack<T>::size;
    const T* w[Outputs];
    PLLAVA_UNROLL
    for (int o = 0; o < Outputs; ++o) w[o] = data + static_cast<std::int64_t>(outputs[o]) * in;
    const int vectorized = in % kSize == 0 ? in : 0;  // else rows are not aligned
    for (int k = lane * kSize; k < vectorized; k += kWarp * kSize) {
      Pack<T> weights[Outputs];
      PLLAVA_UNROLL
      for (int o = 0; o < Outputs; ++o) weights[o] = load_streaming(w[o] + k);
      PLLAVA_UNROLL
      for (int r = 0; r < Rows; ++r) {
        float values[kSize];
        load_shared(values, x + r * stride + shared_index(k));
        PLLAVA_UNROLL
        for (int o = 0; o < Outputs; ++o) PLLAVA_UNROLL
        for (int i = 0; i < kSize; ++i) sums[o][r] += to_float(weights[o].at[i]) * values[i];
      }
    }
    for (int k = vectorized + lane; k < in; k += kWarp)
      for (int r = 0; r < Rows; ++r)
        for (int o = 0; o < Outputs; ++o)
          sums[o][r] += to_float(w[o][k]) * x[r * stride + shared_index(k)];
  }
};

template <QuantizedType type>
struct QuantizedWeights {
  QuantizedMatrix matrix;

  /// As UnquantizedWeights::multiply().
  template <int Rows, int Outputs>
  PLLAVA_DEVICE void multiply(float (&sums)[Outputs][Rows], const int (&outputs)[Outputs],
                              const float* x, int stride, int lane) const {
    constexpr int kSize = kWordValues<type>, kWords = Pack<std::uint32_t>::size;
    static_assert(kRun % (kWords * kSize) == 0, "a pack is within one run of x");
    const std::uint32_t* w[Outputs];
    PLLAVA_UNROLL
    for (int o = 0; o < Outputs; ++o)
      w[o] = matrix.values + std::int64_t{outputs[o]} * matrix.packs * kWords;
    for (int p = lane; p < matrix.packs; p += kWarp) {
      Pack<std::uint32_t> packs[Outputs];
      GroupScale groups[Outputs];
      PLLAVA_UNROLL
      for (int o = 0; o < Outputs; ++o) {
        packs[o] = load_streaming(w[o] + std::int64_t{p} * kWords);
        groups[o] = group_scale<type>(matrix, outputs[o], p);
      }
      const float* const first = x + shared_index(p * kWords * kSize);
      float pack_sums[Outputs][Rows] = {};
      PLLAVA_UNROLL
      for (int i = 0; i < kWords; ++i) {
        float weights[Outputs][kSize];
        PLLAVA_UNROLL
        for (int o = 0; o < Outputs; ++o)
          unpack_word<type>(weights[o], packs[o].at[i], groups[o].zero_point);
        PLLAVA_UNROLL
        for (int r = 0; r < Rows; ++r) {
          float values[kSize];
          load_shared(values, first + r * stride + i * kSize);
          PLLAVA_UNROLL
          for (int o = 0; o < Outputs; ++o) PLLAVA_UNROLL
          for (int j = 0; j < kSize; ++j) pack_sums[o][r] += weights[o][j] * values[j];
        }
      }
      PLLAVA_UNROLL
      for (int o = 0; o < Outputs; ++o) PLLAVA_UNROLL
      for (int r = 0; r < Rows; ++r) sums[o][r] += groups[o].scale * pack_sums[o][r];
    }
    PLLAVA_UNROLL
    for (int o = 0; o < Outputs; ++o) PLLAVA_UNROLL
    for (int r = 0; r < Rows; ++r) sums[o][r] *= matrix.channel_scales[outputs[o]];
  }
};

// ---- gemv ---------------------------------------------------------------------------------------

constexpr int kWarpOutputs = 2;  // outputs that a warp computes at a time

inline Grid gemv_grid(const Gemv& params) {
  return grid_for(params.out, kWarpOutputs * kGemvWarps);
}

/// Computes the outputs of a block. `x`: Rows * stride floats of shared memory; Rows is at least
/// params.rows.
template <class Weights, int Rows>
PLLAVA_DEVICE void gemv_block(const Gemv& params, const Weights& w, float* x, int stride) {
  load_rows<Rows>(x, params.x, params.rows, params.in, stride);
  const int warp = static_cast<int>(threadIdx.x) / kWarp,
            lane = static_cast<int>(threadIdx.x) % kWarp;
  const int first = (static_cast<int>(blockIdx.x) * kGemvWarps + warp) * kWarpOutputs;
  if (first >= params.out) return;
  const int outputs[] = {first, first + 1 < params.out ? first + 1 : first};
  static_assert(sizeof outputs / sizeof outputs[0] == kWarpOutputs);
  float sums[kWarpOutputs][Rows] = {};
  w.multiply(sums, outputs, x, stride, lane);
  PLLAVA_UNROLL
  for (int o = 0; o < kWarpOutputs; ++o) {
    PLLAVA_UNROLL
    for (int r = 0; r < Rows; ++r) {
      const float sum = warp_sum(sums[o][r]);
      const int column = first + o;
      if (lane != 0 || column >= params.out || r >= params.rows) continue;
      const std::int64_t at = static_cast<std::int64_t>(r) * params.out + column;
      const float v = sum + (params.bias != nullptr ? params.bias[column] : 0.0f);
      if (params.accumulate)
        static_cast<float*>(params.y.data)[at] += v;
      else
        store_any(params.y, at, activate(v, params.act));
    }
  }
}

// ---- launches -----------------------------------------------------------------------------------

/// Calls body(std::integral_constant) with the number of rows that a kernel computes: the next of
/// 1, 2, 4 and 8.
template <int Rows = 1, class Body>
int with_rows(int rows, Body&& body) {
  if (rows <= Rows) return body(std::integral_constant<int, Rows>{});
  if constexpr (Rows < kMaxGemvRows)
    return with_rows<2 * Rows>(rows, body);
  else
    return kInvalidValue;
}

/// Calls body(weights) with UnquantizedWeights of the type of w.
template <class Body>
int with_weights(const Gemv& params, const Operand& w, Body&& body) {
  return with_type(w.type, [&](auto type) {
    using T = decltype(type);
    return body(UnquantizedWeights<T>{data_as<T>(w), params.in});
  });
}

/// Calls body(weights) with QuantizedWeights of the type of w.
template <class Body>
int with_weights(const Gemv&, const QuantizedMatrix& w, Body&& body) {
  return with_quantized_type(
      w.type, [&](auto type) { return body(QuantizedWeights<decltype(type)::value>{w}); });
}

}  // namespace pllava::cuda::kernels
