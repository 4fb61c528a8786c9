// Products of few rows: each weight is read once, 16 bytes a thread at a time, and meets all rows.
// Bound by the bandwidth of memory, so nothing else may be: a block of four warps owns a few
// outputs, and every lane has several loads in flight.
#include "simt.cuh"

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

/// Adds the products of `Outputs` rows of w, from `first` on, with all rows of x to sums, as far as
/// this lane reads them. x lies in shared memory as (rows, in) f32.
template <class T, int Rows, int Outputs>
PLLAVA_DEVICE void multiply(float (&sums)[Outputs][Rows], const float* x,
                            const T* const (&w)[Outputs], int in, int lane) {
  constexpr int kSize = Pack<T>::size;
  const int whole = in % kSize == 0 ? in : 0;  // rows of w start at whole packs or at none
  for (int k = lane * kSize; k < whole; k += kWarp * kSize) {
    Pack<T> weights[Outputs];
    PLLAVA_UNROLL
    for (int o = 0; o < Outputs; ++o) weights[o] = stream_pack(w[o] + k);
    PLLAVA_UNROLL
    for (int r = 0; r < Rows; ++r) {
      const float* values = x + static_cast<std::int64_t>(r) * in + k;
      PLLAVA_UNROLL
      for (int o = 0; o < Outputs; ++o) PLLAVA_UNROLL
      for (int i = 0; i < kSize; ++i) sums[o][r] += to_float(weights[o].at[i]) * values[i];
    }
  }
  for (int k = whole + lane; k < in; k += kWarp)
    for (int r = 0; r < Rows; ++r)
      for (int o = 0; o < Outputs; ++o)
        sums[o][r] += to_float(w[o][k]) * x[static_cast<std::int64_t>(r) * in + k];
}

/// Rows of x into shared memory as f32; ends with a barrier.
PLLAVA_DEVICE void gather(float* shared, Operand x, int count) {
  for (int i = static_cast<int>(threadIdx.x); i < count; i += static_cast<int>(blockDim.x))
    shared[i] = load_any(x, i);
  __syncthreads();
}

/// A warp computes two outputs at a time.
template <class T, int Rows>
PLLAVA_KERNEL(kThreads, 4)
gemv_kernel(FewRows call) {
  PLLAVA_DYNAMIC_SHARED(memory);
  auto* x = reinterpret_cast<float*>(memory);
  gather(x, call.x, Rows * call.in);
  const int warp = static_cast<int>(threadIdx.x) / kWarp,
            lane = static_cast<int>(threadIdx.x) % kWarp;
  const int first = (static_cast<int>(blockIdx.x) * kWarps + warp) * 2;
  if (first >= call.out) return;
  const int second = first + 1 < call.out ? first + 1 : first;
  const auto* weight = static_cast<const T*>(call.w.data);
  const T* const w[2] = {weight + static_cast<std::int64_t>(first) * call.in,
                         weight + static_cast<std::int64_t>(second) * call.in};
  float sums[2][Rows] = {};
  multiply<T, Rows, 2>(sums, x, w, call.in, lane);
  for (int o = 0; o < 2; ++o)
    for (int r = 0; r < Rows; ++r) {
      const float sum = warp_sum(sums[o][r]);
      const int column = first + o;
      if (lane != 0 || column >= call.out) continue;
      const std::int64_t place = static_cast<std::int64_t>(r) * call.out + column;
      const float v = sum + (call.bias != nullptr ? call.bias[column] : 0.0f);
      if (call.add)
        static_cast<float*>(call.y.data)[place] += v;
      else
        store_any(call.y, place, activated(v, call.act));
    }
}

/// A warp computes one gated output: a row of gate and a row of up.
template <class T, int Rows>
PLLAVA_KERNEL(kThreads, 4)
gemv_glu_kernel(FewRows call) {
  PLLAVA_DYNAMIC_SHARED(memory);
  auto* x = reinterpret_cast<float*>(memory);
  gather(x, call.x, Rows * call.in);
  const int warp = static_cast<int>(threadIdx.x) / kWarp,
            lane = static_cast<int>(threadIdx.x) % kWarp;
  const int column = static_cast<int>(blockIdx.x) * kWarps + warp;
  if (column >= call.out) return;
  const auto* weight = static_cast<const T*>(call.w.data);
  const T* const w[2] = {weight + static_cast<std::int64_t>(column) * call.in,
                         weight + static_cast<std::int64_t>(call.out + column) * call.in};
  float sums[2][Rows] = {};
  multiply<T, Rows, 2>(sums, x, w, call.in, lane);
  for (int r = 0; r < Rows; ++r) {
    const float gate = warp_sum(sums[0][r]), up = warp_sum(sums[1][r]);
    if (lane == 0)
      store_any(call.y, static_cast<std::int64_t>(r) * call.out + column,
                activated(gate, call.act) * up);
  }
}

/// Calls body(integral constant) with the number of rows.
template <int Rows = 1, class Body>
int with_rows(int rows, Body&& body) {
  if (rows == Rows) return body(std::integral_constant<int, Rows>{});
  if constexpr (Rows < kFewRows)
    return with_rows<Rows + 1>(rows, body);
  else
    return 1;  // cudaErrorInvalidValue
}

}  // namespace

int gemv(const FewRows& call, Stream stream) {
  return with_type(call.w.type, [&](auto type) {
    return with_rows(call.rows, [&](auto rows) {
      const int blocks = (call.out + 2 * kWarps - 1) / (2 * kWarps);
      return launch(gemv_kernel<decltype(type), decltype(rows)::value>,
                    {static_cast<unsigned>(blocks)}, kThreads, call.rows * call.in * 4, stream,
                    call);
    });
  });
}

int gemv_glu(const FewRows& call, Stream stream) {
  return with_type(call.w.type, [&](auto type) {
    return with_rows(call.rows, [&](auto rows) {
      const int blocks = (call.out + kWarps - 1) / kWarps;
      return launch(gemv_glu_kernel<decltype(type), decltype(rows)::value>,
                    {static_cast<unsigned>(blocks)}, kThreads, call.rows * call.in * 4, stream,
                    call);
    });
  });
}

}  // namespace pllava::cuda::kernels
