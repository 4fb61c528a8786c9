// The part of CUDA that the kernels use. The same sources compile with nvcc for a GPU and with a
// C++ compiler for the executor in tests/support/simt.hpp, which runs the threads of a block as
// fibers.
//
// A kernel is declared with PLLAVA_KERNEL(threads, blocks) and started with launch(). Static shared
// memory is PLLAVA_SHARED, dynamic shared memory PLLAVA_DYNAMIC_SHARED.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "launch.hpp"

#ifdef __CUDACC__
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>
#include <cuda_runtime.h>

#define PLLAVA_KERNEL(threads, blocks) __global__ void __launch_bounds__(threads, blocks)
#define PLLAVA_SHARED __shared__
#define PLLAVA_DYNAMIC_SHARED(name) extern __shared__ __align__(16) unsigned char name[]
#define PLLAVA_DEVICE __device__ __forceinline__
#define PLLAVA_UNROLL _Pragma("unroll")
#else
#include "pllava/core/float8.hpp"
#include "support/simt.hpp"  // threadIdx, blockIdx, __syncthreads, __shfl_xor_sync, ...

#define PLLAVA_KERNEL(threads, blocks) void
#define PLLAVA_SHARED static
#define PLLAVA_DYNAMIC_SHARED(name) unsigned char* const name = ::simt::dynamic_shared()
#define PLLAVA_DEVICE inline
#define PLLAVA_UNROLL
#endif

namespace pllava::cuda::kernels {

constexpr int kInvalidValue = 1;  // cudaErrorInvalidValue

// ---- 16-bit and 8-bit floats --------------------------------------------------------------------

/// Upper half of an IEEE float.
struct bf16 {
  std::uint16_t bits;
};
/// IEEE half precision.
struct f16 {
  std::uint16_t bits;
};
/// See core/float8.hpp.
struct e4m3 {
  std::uint8_t bits;
};

PLLAVA_DEVICE float to_float(float x) {
  return x;
}

#ifdef __CUDACC__
PLLAVA_DEVICE float float_of(std::uint32_t bits) {
  return __uint_as_float(bits);
}
PLLAVA_DEVICE float to_float(bf16 x) {
  return float_of(static_cast<std::uint32_t>(x.bits) << 16);
}
PLLAVA_DEVICE float to_float(f16 x) {
  return __half2float(__ushort_as_half(x.bits));
}
template <class T>
PLLAVA_DEVICE T from_float(float x);
template <>
PLLAVA_DEVICE float from_float<float>(float x) {
  return x;
}
template <>
PLLAVA_DEVICE bf16 from_float<bf16>(float x) {
  return {__bfloat16_as_ushort(__float2bfloat16_rn(x))};
}
template <>
PLLAVA_DEVICE f16 from_float<f16>(float x) {
  return {__half_as_ushort(__float2half_rn(x))};
}
template <>
PLLAVA_DEVICE e4m3 from_float<e4m3>(float x) {
  return {__nv_cvt_float_to_fp8(x, __NV_SATFINITE, __NV_E4M3)};
}
#else
inline float float_of(std::uint32_t bits) {
  return ::simt::float_of(bits);
}
inline float to_float(bf16 x) {
  return ::simt::bf16_to_float(x.bits);
}
inline float to_float(f16 x) {
  return ::simt::f16_to_float(x.bits);
}
template <class T>
inline T from_float(float x);
template <>
inline float from_float<float>(float x) {
  return x;
}
template <>
inline bf16 from_float<bf16>(float x) {
  return {::simt::float_to_bf16(x)};
}
template <>
inline f16 from_float<f16>(float x) {
  return {::simt::float_to_f16(x)};
}
template <>
inline e4m3 from_float<e4m3>(float x) {
  return {float_to_e4m3(x)};
}
#endif

/// Not for NaN.
PLLAVA_DEVICE float to_float(e4m3 x) {
  return float_of((x.bits & 0x80u) << 24 | (x.bits & 0x7fu) << 20) * 0x1p120f;
}

/// 16 bytes of T, moved by one instruction.
template <class T>
struct alignas(16) Pack {
  static constexpr int size = 16 / sizeof(T);
  static_assert(16 % sizeof(T) == 0);
  T at[size];
};

// ---- launching ----------------------------------------------------------------------------------

struct Grid {
  unsigned x = 1, y = 1, z = 1;
};

/// Blocks of `size` for n elements.
inline Grid grid_for(std::int64_t n, int size) {
  return {static_cast<unsigned>((n + size - 1) / size)};
}

/// Index of the calling thread in a grid of one dimension.
PLLAVA_DEVICE std::int64_t thread_index() {
  return static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}

/// Starts a kernel with `threads` threads in a block and `shared` bytes of dynamic shared memory.
template <class... Parameters, class... Arguments>
int launch(void (*kernel)(Parameters...), Grid grid, int threads, int shared, Stream stream,
           Arguments... arguments) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return 0;
#ifdef __CUDACC__
  if (shared > 48 * 1024) {
    const cudaError_t status = cudaFuncSetAttribute(
        reinterpret_cast<const void*>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize, shared);
    if (status != cudaSuccess) return static_cast<int>(status);
  }
  kernel<<<dim3(grid.x, grid.y, grid.z), dim3(static_cast<unsigned>(threads)),
           static_cast<std::size_t>(shared), static_cast<cudaStream_t>(stream)>>>(
      static_cast<Parameters>(arguments)...);
  return static_cast<int>(cudaGetLastError());
#else
  static_cast<void>(stream);
  ::simt::launch({grid.x, grid.y, grid.z}, static_cast<unsigned>(threads),
                 static_cast<std::size_t>(shared),
                 [=] { kernel(static_cast<Parameters>(arguments)...); });
  return 0;
#endif
}

/// Calls body(T{}) with the element type T.
template <class Body>
int with_type(Type type, Body&& body) {
  switch (type) {
    case Type::f32: return body(float{});
    case Type::f16: return body(f16{});
    case Type::bf16: return body(bf16{});
  }
  return kInvalidValue;
}

template <class T>
const T* data_as(const Operand& x) {
  return static_cast<const T*>(x.data);
}
template <class T>
T* mutable_data_as(const Operand& x) {
  return static_cast<T*>(x.data);
}

// ---- reductions over a warp and a block ---------------------------------------------------------

constexpr int kWarp = 32;
constexpr int kMaxThreads = 1024;  // of a block
static_assert(kMaxThreads / kWarp <= kWarp,
              "block_reduce() reduces the warps' results in one warp");

template <class T>
PLLAVA_DEVICE T warp_sum(T x) {
  for (int lane = kWarp / 2; lane > 0; lane /= 2) x += __shfl_xor_sync(0xffffffffu, x, lane);
  return x;
}

PLLAVA_DEVICE float warp_max(float x) {
  for (int lane = kWarp / 2; lane > 0; lane /= 2)
    x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, lane));
  return x;
}

/// Extends warp_reduce (sum or max of a warp) to a block of whole warps; every thread gets the
/// result. `shared` must not be written before the next __syncthreads(). Missing warps count as 0.
template <class Reduce>
PLLAVA_DEVICE float block_reduce(float x, float (&shared)[kWarp], const Reduce& warp_reduce) {
  const int warp = static_cast<int>(threadIdx.x) / kWarp,
            lane = static_cast<int>(threadIdx.x) % kWarp;
  x = warp_reduce(x);
  if (lane == 0) shared[warp] = x;
  __syncthreads();
  const int warps = static_cast<int>(blockDim.x) / kWarp;
  return warp_reduce(lane < warps ? shared[lane] : 0.0f);
}

PLLAVA_DEVICE float block_sum(float x, float (&shared)[kWarp]) {
  return block_reduce(x, shared, [](float v) { return warp_sum(v); });
}

/// Of values that are not negative.
PLLAVA_DEVICE float block_max(float x, float (&shared)[kWarp]) {
  return block_reduce(x, shared, [](float v) { return warp_max(v); });
}

PLLAVA_DEVICE float activate(float x, Act act) {
  switch (act) {
    case Act::none: return x;
    case Act::quick_gelu: return x / (1.0f + expf(-1.702f * x));
    case Act::gelu: return 0.5f * x * (1.0f + erff(x * 0.70710678118654752f));
    case Act::gelu_tanh: return x / (1.0f + expf(x * (x * x * -0.071354816f - 1.5957691f)));
    case Act::silu: return x / (1.0f + expf(-x));
  }
  return x;
}

}  // namespace pllava::cuda::kernels
