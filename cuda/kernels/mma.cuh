// Matrix instructions of a warp and asynchronous copies to shared memory (sm_80 and later). Without
// nvcc, the executor emulates them.
#pragma once

#include <cstdint>

#include "simt.cuh"

namespace pllava::cuda::kernels {

/// d += a * b for a (16, 16), b (16, 8), d (16, 8), distributed over the lanes of a warp. A
/// register of a and b holds two values of T. Lane 4 * g + t holds
///   a: (g, 2t), (g + 8, 2t), (g, 2t + 8), (g + 8, 2t + 8), each with the next column;
///   b: (2t, g), (2t + 8, g), each with the next row;
///   d: (g, 2t), (g, 2t + 1), (g + 8, 2t), (g + 8, 2t + 1).
template <class T>
PLLAVA_DEVICE void mma_16x8x16(float (&d)[4], const std::uint32_t (&a)[4],
                               const std::uint32_t (&b)[2]);

#ifdef __CUDACC__

template <>
PLLAVA_DEVICE void mma_16x8x16<bf16>(float (&d)[4], const std::uint32_t (&a)[4],
                                     const std::uint32_t (&b)[2]) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

template <>
PLLAVA_DEVICE void mma_16x8x16<f16>(float (&d)[4], const std::uint32_t (&a)[4],
                                    const std::uint32_t (&b)[2]) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

PLLAVA_DEVICE std::uint32_t shared_address(const void* shared) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(shared));
}

/// Loads four 8x8 matrices of 16-bit values from shared memory. Lane i passes the 16-byte aligned
/// address of row i % 8 of matrix i / 8. Lane 4 * g + t receives the values (g, 2t), (g, 2t + 1) of
/// matrix j in r[j].
PLLAVA_DEVICE void load_matrices(std::uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
}

/// The same with transposed matrices: (2t, g), (2t + 1, g).
PLLAVA_DEVICE void load_matrices_transposed(std::uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
}

/// Starts to copy 16 aligned bytes to shared memory. If not `valid`, nothing is read and the copy
/// is zeros.
PLLAVA_DEVICE void copy_async(void* shared, const void* global, bool valid) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)),
               "l"(__cvta_generic_to_global(global)), "r"(valid ? 16 : 0)
               : "memory");
}

/// The copies since the last commit become a group.
PLLAVA_DEVICE void commit_async() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}

/// Waits for all groups of this thread except the last `pending`. Other threads need a barrier to
/// see the copies.
template <int pending>
PLLAVA_DEVICE void wait_async() {
  asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
}

/// 2^x by ex2.approx; subnormal results are flushed to 0.
PLLAVA_DEVICE float exp2_approx(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

/// Two values of T in a register, `low` in the lower half.
template <class T>
PLLAVA_DEVICE std::uint32_t packed_pair(float low, float high);
template <>
PLLAVA_DEVICE std::uint32_t packed_pair<bf16>(float low, float high) {
  std::uint32_t pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}
template <>
PLLAVA_DEVICE std::uint32_t packed_pair<f16>(float low, float high) {
  std::uint32_t pair;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}

#else

template <>
inline void mma_16x8x16<bf16>(float (&d)[4], const std::uint32_t (&a)[4],
                              const std::uint32_t (&b)[2]) {
  ::simt::mma_16x8x16<::simt::bf16_to_float>(d, a, b);
}
template <>
inline void mma_16x8x16<f16>(float (&d)[4], const std::uint32_t (&a)[4],
                             const std::uint32_t (&b)[2]) {
  ::simt::mma_16x8x16<::simt::f16_to_float>(d, a, b);
}
inline void load_matrices(std::uint32_t (&r)[4], const void* row) {
  ::simt::load_matrices<false>(r, row);
}
inline void load_matrices_transposed(std::uint32_t (&r)[4], const void* row) {
  ::simt::load_matrices<true>(r, row);
}
inline void copy_async(void* shared, const void* global, bool valid) {
  ::simt::Executor::of_this_thread().copy_later(shared, valid ? global : nullptr, 16);
}
inline void commit_async() {
  ::simt::Executor::of_this_thread().commit_copies();
}
template <int pending>
void wait_async() {
  ::simt::Executor::of_this_thread().wait_copies(pending);
}
inline float exp2_approx(float x) {
  return exp2f(x);
}
template <class T>
std::uint32_t packed_pair(float low, float high) {
  return from_float<T>(low).bits | static_cast<std::uint32_t>(from_float<T>(high).bits) << 16;
}

#endif

}  // namespace pllava::cuda::kernels
