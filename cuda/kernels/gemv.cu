// Products of few rows: each weight is read once, 16 bytes a thread at a time, and meets all rows.
// Bound by the bandwidth of memory, so nothing else may be: a block of four warps owns a few
// outputs, and every lane has several loads in flight.
#include "norm.cuh"
#include "rounded.cuh"

namespace pllava::cuda::kernels {

namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / kWarp;

template <class T>
PLLAVA_DEVICE T load(const void* data, std::int64_t i) {
  return static_cast<const T*>(data)[i];
}

/// The value of x at i, where its type is known only at run time: x is small and stays in the
/// cache.
PLLAVA_DEVICE float load_any(Operand x, std::int64_t i) {
  switch (x.type) {
    case Type::f32: return load<float>(x.data, i);
    case Type::f16: return to_float(load<f16>(x.data, i));
    case Type::bf16: return to_float(load<bf16>(x.data, i));
  }
  return 0;
}

PLLAVA_DEVICE void store_any(Operand y, std::int64_t i, float v) {
  switch (y.type) {
    case Type::f32: static_cast<float*>(y.data)[i] = v; return;
    case Type::f16: static_cast<f16*>(y.data)[i] = from_float<f16>(v); return;
    case Type::bf16: static_cast<bf16*>(y.data)[i] = from_float<bf16>(v); return;
  }
}

/// Where number k of a row of x lies in shared memory. The gap behind every run spreads reads of 16
/// bytes over all banks, whether lanes are 4, 8, 16 or 32 numbers apart.
constexpr int kRun = 32, kGap = 4;
PLLAVA_DEVICE int place(int k) {
  return k + k / kRun * kGap;
}

/// Floats of a row of x in shared memory, where it ends with a whole run.
int stride_of(int in) {
  return (in + kRun - 1) / kRun * (kRun + kGap);
}

/// 16 bytes of a weight that no other block will read.
template <class T>
PLLAVA_DEVICE Pack<T> stream_pack(const T* p) {
#ifdef __CUDA_ARCH__
  const int4 raw = __ldcs(reinterpret_cast<const int4*>(p));
  return *reinterpret_cast<const Pack<T>*>(&raw);
#else
  return *reinterpret_cast<const Pack<T>*>(p);
#endif
}

/// `Count` numbers of x, 16 bytes at a time.
template <int Count>
PLLAVA_DEVICE void read(float (&values)[Count], const float* x) {
  PLLAVA_UNROLL
  for (int i = 0; i < Count; i += 4) {
    const auto pack = *reinterpret_cast<const Pack<float>*>(x + i);
    PLLAVA_UNROLL
    for (int j = 0; j < 4; ++j) values[i + j] = pack.at[j];
  }
}

/// Rows of x (rows, in) into shared memory as f32, zero behind their end and in the rows behind
/// them; ends with a barrier.
template <int Rows>
PLLAVA_DEVICE void gather(float* shared, Operand x, int rows, int in, int stride) {
  const int depth = stride / (kRun + kGap) * kRun;
  for (int r = 0; r < Rows; ++r)
    for (int k = static_cast<int>(threadIdx.x); k < depth; k += static_cast<int>(blockDim.x))
      shared[r * stride + place(k)] =
          r < rows && k < in ? load_any(x, static_cast<std::int64_t>(r) * in + k) : 0.0f;
  __syncthreads();
}

/// A matrix (rows, in) of T.
template <class T>
struct Plain {
  const T* data;
  int in;

  /// Adds this lane's part of the products of rows `chosen` of the matrix with all rows of x.
  template <int Rows, int Outputs>
  PLLAVA_DEVICE void multiply(float (&sums)[Outputs][Rows], const int (&chosen)[Outputs],
                              const float* x, int stride, int lane) const {
    constexpr int kSize = Pack<T>::size;
    const T* w[Outputs];
    PLLAVA_UNROLL
    for (int o = 0; o < Outputs; ++o) w[o] = data + static_cast<std::int64_t>(chosen[o]) * in;
    const int whole = in % kSize == 0 ? in : 0;  // rows start at whole packs or at none
    for (int k = lane * kSize; k < whole; k += kWarp * kSize) {
      Pack<T> weights[Outputs];
      PLLAVA_UNROLL
      for (int o = 0; o < Outputs; ++o) weights[o] = stream_pack(w[o] + k);
      PLLAVA_UNROLL
      for (int r = 0; r < Rows; ++r) {
        float values[kSize];
        read(values, x + r * stride + place(k));
        PLLAVA_UNROLL
        for (int o = 0; o < Outputs; ++o) PLLAVA_UNROLL
        for (int i = 0; i < kSize; ++i) sums[o][r] += to_float(weights[o].at[i]) * values[i];
      }
    }
    for (int k = whole + lane; k < in; k += kWarp)
      for (int r = 0; r < Rows; ++r)
        for (int o = 0; o < Outputs; ++o)
          sums[o][r] += to_float(w[o][k]) * x[r * stride + place(k)];
  }
};

template <Code code>
struct Rounded {
  RoundedMatrix matrix;

  template <int Rows, int Outputs>
  PLLAVA_DEVICE void multiply(float (&sums)[Outputs][Rows], const int (&chosen)[Outputs],
                              const float* x, int stride, int lane) const {
    constexpr int kSize = 32 / kBits<code>, kWords = 4;  // numbers of a word, words of a pack
    const std::uint32_t* w[Outputs];
    PLLAVA_UNROLL
    for (int o = 0; o < Outputs; ++o)
      w[o] = matrix.values + std::int64_t{chosen[o]} * matrix.packs * kWords;
    for (int p = lane; p < matrix.packs; p += kWarp) {
      Pack<std::uint32_t> packs[Outputs];
      Factors f[Outputs];
      PLLAVA_UNROLL
      for (int o = 0; o < Outputs; ++o) {
        packs[o] = stream_pack(w[o] + std::int64_t{p} * kWords);
        f[o] = factors<code>(matrix, chosen[o], p);
      }
      const float* const first = x + place(p * kWords * kSize);  // a pack lies in one run
      float parts[Outputs][Rows] = {};
      PLLAVA_UNROLL
      for (int i = 0; i < kWords; ++i) {
        float weights[Outputs][kSize];
        PLLAVA_UNROLL
        for (int o = 0; o < Outputs; ++o) unpack<code>(weights[o], packs[o].at[i], f[o].zero);
        PLLAVA_UNROLL
        for (int r = 0; r < Rows; ++r) {
          float values[kSize];
          read(values, first + r * stride + i * kSize);
          PLLAVA_UNROLL
          for (int o = 0; o < Outputs; ++o) PLLAVA_UNROLL
          for (int j = 0; j < kSize; ++j) parts[o][r] += weights[o][j] * values[j];
        }
      }
      PLLAVA_UNROLL
      for (int o = 0; o < Outputs; ++o) PLLAVA_UNROLL
      for (int r = 0; r < Rows; ++r) sums[o][r] += f[o].multiplier * parts[o][r];
    }
    PLLAVA_UNROLL
    for (int o = 0; o < Outputs; ++o) PLLAVA_UNROLL
    for (int r = 0; r < Rows; ++r) sums[o][r] *= matrix.scales[chosen[o]];
  }
};

/// A block's outputs: a warp computes two at a time. `x`: Rows·stride floats of shared memory, and
/// Rows is at least call.rows.
template <class Weights, int Rows>
PLLAVA_DEVICE void gemv_block(const FewRows& call, const Weights& w, float* x, int stride) {
  gather<Rows>(x, call.x, call.rows, call.in, stride);
  const int warp = static_cast<int>(threadIdx.x) / kWarp,
            lane = static_cast<int>(threadIdx.x) % kWarp;
  const int first = (static_cast<int>(blockIdx.x) * kWarps + warp) * 2;
  if (first >= call.out) return;
  const int chosen[2] = {first, first + 1 < call.out ? first + 1 : first};
  float sums[2][Rows] = {};
  w.multiply(sums, chosen, x, stride, lane);
  PLLAVA_UNROLL
  for (int o = 0; o < 2; ++o) {
    PLLAVA_UNROLL
    for (int r = 0; r < Rows; ++r) {
      const float sum = warp_sum(sums[o][r]);
      const int column = first + o;
      if (lane != 0 || column >= call.out || r >= call.rows) continue;
      const std::int64_t place = static_cast<std::int64_t>(r) * call.out + column;
      const float v = sum + (call.bias != nullptr ? call.bias[column] : 0.0f);
      if (call.add)
        static_cast<float*>(call.y.data)[place] += v;
      else
        store_any(call.y, place, activated(v, call.act));
    }
  }
}

template <class Weights, int Rows>
PLLAVA_KERNEL(kThreads, 4)
gemv_kernel(FewRows call, Weights w, int stride) {
  PLLAVA_DYNAMIC_SHARED(memory);
  gemv_block<Weights, Rows>(call, w, reinterpret_cast<float*>(memory), stride);
}

/// The block that ends last norms the row: by then all others have counted themselves, each behind
/// a fence that makes its outputs visible. It leaves the count at 0 for the next kernel of the
/// stream, so a recorded step can be replayed. The bytes are those of a norm of its own, whose row
/// would also come from the cache; what is saved is a kernel between two products.
template <class Weights>
PLLAVA_KERNEL(kThreads, 4)
gemv_norm_kernel(FewRows call, Weights w, int stride, Operand h, Norm norm, unsigned* ended) {
  PLLAVA_DYNAMIC_SHARED(memory);
  PLLAVA_SHARED float sums[kWarp];
  PLLAVA_SHARED bool last;
  auto* row = reinterpret_cast<float*>(memory);
  gemv_block<Weights, 1>(call, w, row, stride);
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    last = atomicAdd(ended, 1u) + 1 == gridDim.x;
    if (last) *ended = 0;
    __threadfence();
  }
  __syncthreads();
  if (last)
    norm_row(static_cast<const float*>(call.y.data), call.out, norm, row, sums,
             [&](int d, float v) { store_any(h, d, v); });
}

/// A warp computes one gated output: a row of gate and a row of up.
template <class Weights, int Rows>
PLLAVA_KERNEL(kThreads, 4)
gemv_glu_kernel(FewRows call, Weights w, int stride) {
  PLLAVA_DYNAMIC_SHARED(memory);
  auto* x = reinterpret_cast<float*>(memory);
  gather<Rows>(x, call.x, call.rows, call.in, stride);
  const int warp = static_cast<int>(threadIdx.x) / kWarp,
            lane = static_cast<int>(threadIdx.x) % kWarp;
  const int column = static_cast<int>(blockIdx.x) * kWarps + warp;
  if (column >= call.out) return;
  const int chosen[2] = {column, call.out + column};
  float sums[2][Rows] = {};
  w.multiply(sums, chosen, x, stride, lane);
  for (int r = 0; r < Rows; ++r) {
    const float gate = warp_sum(sums[0][r]), up = warp_sum(sums[1][r]);
    if (lane == 0 && r < call.rows)
      store_any(call.y, static_cast<std::int64_t>(r) * call.out + column,
                activated(gate, call.act) * up);
  }
}

Grid gemv_grid(const FewRows& call) {
  return {static_cast<unsigned>((call.out + 2 * kWarps - 1) / (2 * kWarps))};
}

/// Calls body(integral constant) with the number of rows that a kernel computes: 1, 2, 4 or 8, so
/// that there are few kernels. Rows that the call does not have are zero.
template <int Rows = 1, class Body>
int with_rows(int rows, Body&& body) {
  if (rows <= Rows) return body(std::integral_constant<int, Rows>{});
  if constexpr (Rows < kFewRows)
    return with_rows<2 * Rows>(rows, body);
  else
    return 1;  // cudaErrorInvalidValue
}

template <class Weights>
int launch_gemv(const FewRows& call, const Weights& w, Stream stream) {
  return with_rows(call.rows, [&](auto rows) {
    return launch(gemv_kernel<Weights, decltype(rows)::value>, gemv_grid(call), kThreads,
                  gemv_shared_bytes(call.rows, call.in), stream, call, w, stride_of(call.in));
  });
}

template <class Weights>
int launch_gemv_norm(const FewRows& call, const Weights& w, Operand h, const Norm& norm,
                     unsigned* ended, Stream stream) {
  return launch(gemv_norm_kernel<Weights>, gemv_grid(call), kThreads,
                gemv_norm_shared_bytes(call.out, call.in), stream, call, w, stride_of(call.in), h,
                norm, ended);
}

template <class Weights>
int launch_gemv_glu(const FewRows& call, const Weights& w, Stream stream) {
  return with_rows(call.rows, [&](auto rows) {
    const int blocks = (call.out + kWarps - 1) / kWarps;
    return launch(gemv_glu_kernel<Weights, decltype(rows)::value>, {static_cast<unsigned>(blocks)},
                  kThreads, gemv_shared_bytes(call.rows, call.in), stream, call, w,
                  stride_of(call.in));
  });
}

}  // namespace

int gemv_shared_bytes(int rows, int in) {
  int computed = 1;  // see with_rows
  while (computed < rows) computed *= 2;
  return computed * stride_of(in) * static_cast<int>(sizeof(float));
}

int gemv(const FewRows& call, Operand w, Stream stream) {
  return with_type(w.type, [&](auto type) {
    using T = decltype(type);
    return launch_gemv(call, Plain<T>{static_cast<const T*>(w.data), call.in}, stream);
  });
}

int gemv(const FewRows& call, const RoundedMatrix& w, Stream stream) {
  return with_code(w.code, [&](auto code) {
    return launch_gemv(call, Rounded<decltype(code)::value>{w}, stream);
  });
}

int gemv_norm_shared_bytes(int out, int in) {
  const int x = gemv_shared_bytes(1, in), row = out * static_cast<int>(sizeof(float));
  return x > row ? x : row;
}

int gemv_norm(const FewRows& call, Operand w, Operand h, const Norm& norm, unsigned* ended,
              Stream stream) {
  return with_type(w.type, [&](auto type) {
    using T = decltype(type);
    return launch_gemv_norm(call, Plain<T>{static_cast<const T*>(w.data), call.in}, h, norm, ended,
                            stream);
  });
}

int gemv_norm(const FewRows& call, const RoundedMatrix& w, Operand h, const Norm& norm,
              unsigned* ended, Stream stream) {
  return with_code(w.code, [&](auto code) {
    return launch_gemv_norm(call, Rounded<decltype(code)::value>{w}, h, norm, ended, stream);
  });
}

int gemv_glu(const FewRows& call, Operand w, Stream stream) {
  return with_type(w.type, [&](auto type) {
    using T = decltype(type);
    return launch_gemv_glu(call, Plain<T>{static_cast<const T*>(w.data), call.in}, stream);
  });
}

int gemv_glu(const FewRows& call, const RoundedMatrix& w, Stream stream) {
  return with_code(w.code, [&](auto code) {
    return launch_gemv_glu(call, Rounded<decltype(code)::value>{w}, stream);
  });
}

}  // namespace pllava::cuda::kernels
