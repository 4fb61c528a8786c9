// A small GEMM on the host, for work at load time. Models use the GEMMs of a backend.
#pragma once

#include <algorithm>
#include <vector>

#include "pllava/config.hpp"

namespace pllava::detail {

inline constexpr Index kHostTileRows = 4, kHostTileColumns = 16;

/// Y (4, 16) += B (4, r) · panel (r, 16); `y_stride` is the distance between rows of Y. Each
/// element is summed over r in order, then added, so its value does not depend on the tiling.
[[gnu::always_inline]] inline void host_gemm_tile(float* y, Index y_stride, const float* b, Index r,
                                                  const float* panel) {
  using Vector = float __attribute__((vector_size(32)));
  constexpr Index kLanes = 8, kVectors = kHostTileColumns / kLanes;
  static_assert(sizeof(Vector) == kLanes * sizeof(float) && kHostTileColumns % kLanes == 0);
  Vector sum[kHostTileRows][kVectors] = {};
  for (Index k = 0; k < r; ++k, panel += kHostTileColumns) {
    Vector a[kVectors];
    __builtin_memcpy(a, panel, sizeof a);
    for (Index row = 0; row < kHostTileRows; ++row)
      for (Index v = 0; v < kVectors; ++v) sum[row][v] += b[row * r + k] * a[v];
  }
  for (Index row = 0; row < kHostTileRows; ++row, y += y_stride)
    for (Index v = 0; v < kVectors; ++v) {
      Vector total;
      __builtin_memcpy(&total, y + kLanes * v, sizeof total);
      total += sum[row][v];
      __builtin_memcpy(y + kLanes * v, &total, sizeof total);
    }
}

inline void host_gemm_tile_portable(float* y, Index y_stride, const float* b, Index r,
                                    const float* panel) {
  host_gemm_tile(y, y_stride, b, r, panel);
}

#if defined(__x86_64__)
[[gnu::target("avx2,fma")]] inline void host_gemm_tile_avx2(float* y, Index y_stride,
                                                            const float* b, Index r,
                                                            const float* panel) {
  host_gemm_tile(y, y_stride, b, r, panel);
}
#endif

/// y (M, N) += b (M, r) · a (r, N), all row-major and dense.
inline void host_gemm(float* y, const float* b, const float* a, Index M, Index r, Index N) {
  constexpr Index kRows = kHostTileRows, kColumns = kHostTileColumns;
  auto* tile = host_gemm_tile_portable;
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) tile = host_gemm_tile_avx2;
#endif
  const auto size = [](Index n) { return static_cast<std::size_t>(n); };
  std::vector<float> panel(size(r * kColumns));
  std::vector<float> last_rows(size(kRows * r));
  float edge[kRows * kColumns];
  for (Index n = 0; n < N; n += kColumns) {
    const Index columns = std::min(kColumns, N - n);
    for (Index k = 0; k < r; ++k)
      for (Index c = 0; c < kColumns; ++c)
        panel[size(k * kColumns + c)] = c < columns ? a[k * N + n + c] : 0.0f;
    for (Index m = 0; m < M; m += kRows) {
      const Index rows = std::min(kRows, M - m);
      const float* left = b + m * r;
      if (rows < kRows) {  // the tile reads kRows rows
        std::copy_n(left, rows * r, last_rows.begin());
        left = last_rows.data();
      }
      float* out = y + m * N + n;
      if (rows == kRows && columns == kColumns) {
        tile(out, N, left, r, panel.data());
        continue;
      }
      for (Index i = 0; i < rows; ++i) std::copy_n(out + i * N, columns, edge + i * kColumns);
      tile(edge, kColumns, left, r, panel.data());
      for (Index i = 0; i < rows; ++i) std::copy_n(edge + i * kColumns, columns, out + i * N);
    }
  }
}

}  // namespace pllava::detail
