// Matrix product kernels with f32 activations: f32 and int8 panels. See simd_base.hpp.

template <Index MR, Index V, Index U, class T>
void micro_kernel_f32(const float* a, Index stride, const T* b, Index k, float* c) {
  VecF32 acc[U][MR][V] = {};
  const auto accumulate_k = [&](VecF32(&sums)[MR][V], Index i) __attribute__((always_inline)) {
    if constexpr (sizeof(T) == 1) __builtin_prefetch(b + (i + 64) * kPanelWidth);
    VecF32 rhs[V];
#pragma GCC unroll 8
    for (Index v = 0; v < V; ++v) rhs[v] = load(b + i * kPanelWidth + v * kLanes);
#pragma GCC unroll 16
    for (Index r = 0; r < MR; ++r)
#pragma GCC unroll 8
      for (Index v = 0; v < V; ++v) sums[r][v] += a[i * stride + r] * rhs[v];
  };
  Index i = 0;
  for (; i + U <= k; i += U)
#pragma GCC unroll 4
    for (Index u = 0; u < U; ++u) accumulate_k(acc[u], i + u);
  for (; i < k; ++i) accumulate_k(acc[0], i);
  store_accumulators(c, acc);
}

template <class T>
void tile_f32(Index rows, const float* a, Index stride, const T* b, Index k, float* c) {
  with_tile_shape(rows, [&]<Index MR, Index V, Index U> {
    for (Index n = 0; n < kPanelWidth; n += V * kLanes)
      micro_kernel_f32<MR, V, U>(a, stride, b + n, k, c + n);
  });
}

/// The row counts of with_tile_shape.
Index padded_rows(Index rows) {
  if (rows <= 2) return rows;
  if (rows <= 4) return 4;
  if (kLanes == 16 && rows <= 8) return 8;
  return kTileRows;
}

/// `table` with these kernels.
constexpr Kernels with_f32(Kernels table) {
  table.max_tile_rows = kTileRows;
  table.padded_rows = padded_rows;
  table.tile_f32 = tile_f32<float>;
  table.tile_f32_int8 = tile_f32<std::int8_t>;
  return table;
}
