// What the kernels use of CUDA, so that one source compiles with nvcc for the device and with a C++
// compiler for the executor in tests/support/simt.hpp, which runs the threads of a block as fibers.
//
// Kernels start with PLLAVA_KERNEL(threads, blocks), are started with launch(), declare shared
// arrays with PLLAVA_SHARED and the dynamic part with PLLAVA_DYNAMIC_SHARED, and use the functions
// below.
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

// ---- numbers of 16 and 8 bits
// ------------------------------------------------------------------------------

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

/// Not for the codes that are no numbers.
PLLAVA_DEVICE float to_float(e4m3 x) {
  return float_of((x.bits & 0x80u) << 24 | (x.bits & 0x7fu) << 20) * 0x1p120f;
}

/// 16 bytes of T, moved at once.
template <class T>
struct alignas(16) Pack {
  static constexpr int size = 16 / sizeof(T);
  T at[size];
};

// ---- launching
// -----------------------------------------------------------------------------------

struct Grid {
  unsigned x = 1, y = 1, z = 1;
};

/// Starts a kernel of `threads` threads a block with `shared` bytes of dynamic shared memory.
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

/// Calls body(T{}) with the element type T that `type` names.
template <class Body>
int with_type(Type type, Body&& body) {
  switch (type) {
    case Type::f32: return body(float{});
    case Type::f16: return body(f16{});
    case Type::bf16: return body(bf16{});
  }
  return 1;  // cudaErrorInvalidValue
}

// ---- sums over a warp and a block
// ------------------------------------------------------------------

constexpr int kWarp = 32;

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

/// What `of_warp`, the sum or the largest of a warp, is of a block of whole warps, in every thread.
/// `shared`: 32 floats, free for use again behind the next __syncthreads(). Of no number it is 0.
template <class Reduce>
PLLAVA_DEVICE float block_reduce(float x, float* shared, const Reduce& of_warp) {
  const int warp = static_cast<int>(threadIdx.x) / kWarp,
            lane = static_cast<int>(threadIdx.x) % kWarp;
  x = of_warp(x);
  if (lane == 0) shared[warp] = x;
  __syncthreads();
  const int warps = static_cast<int>(blockDim.x) / kWarp;
  return of_warp(lane < warps ? shared[lane] : 0.0f);
}

PLLAVA_DEVICE float block_sum(float x, float* shared) {
  return block_reduce(x, shared, [](float v) { return warp_sum(v); });
}

/// Of numbers that are not negative.
PLLAVA_DEVICE float block_max(float x, float* shared) {
  return block_reduce(x, shared, [](float v) { return warp_max(v); });
}

PLLAVA_DEVICE float activated(float x, Act act) {
  switch (act) {
    case Act::none: return x;
    case Act::quick_gelu: return x / (1.0f + expf(-1.702f * x));
    case Act::gelu: return 0.5f * x * (1.0f + erff(x * 0.70710678118654752f));
    case Act::silu: return x / (1.0f + expf(-x));
  }
  return x;
}

}  // namespace pllava::cuda::kernels
