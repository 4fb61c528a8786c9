// Inputs of the models: token embeddings, image patches, position embeddings.
#include "simt.cuh"

namespace pllava::cuda::kernels {
namespace {

constexpr int kThreads = 256;

template <class T>
PLLAVA_KERNEL(kThreads, 1)
embed_kernel(float* x, const std::int32_t* ids, const T* table, std::int64_t n, int width) {
  const std::int64_t i = thread_index();
  if (i >= n) return;
  x[i] = to_float(table[static_cast<std::int64_t>(ids[i / width]) * width + i % width]);
}

template <class T>
PLLAVA_KERNEL(kThreads, 1)
patchify_kernel(T* y, const float* pixels, std::int64_t n, int side, int patch) {
  const std::int64_t i = thread_index();
  if (i >= n) return;
  const int per_side = side / patch, columns = 3 * patch * patch;
  const std::int64_t row = i / columns;
  const auto column = static_cast<int>(i % columns);
  const std::int64_t t = row / (per_side * per_side);
  const auto py = static_cast<int>(row / per_side % per_side);
  const auto px = static_cast<int>(row % per_side);
  const int c = column / (patch * patch), dy = column / patch % patch, dx = column % patch;
  y[i] = from_float<T>(pixels[((t * 3 + c) * side + py * patch + dy) * side + px * patch + dx]);
}

template <class T>
PLLAVA_KERNEL(kThreads, 1)
add_positions_kernel(float* x, const T* patches, const float* cls, const float* positions,
                     std::int64_t n, int per_frame, int width) {
  const std::int64_t i = thread_index();
  if (i >= n) return;
  const int first = cls != nullptr ? 1 : 0, rows = per_frame + first;
  const std::int64_t row = i / width, t = row / rows;
  const auto p = static_cast<int>(row % rows), d = static_cast<int>(i % width);
  const float v = p < first ? cls[d] : to_float(patches[(t * per_frame + p - first) * width + d]);
  x[i] = v + positions[p * width + d];
}

template <class T>
PLLAVA_KERNEL(kThreads, 1)
select_patches_kernel(T* y, const float* x, std::int64_t n, int first, int per_frame, int width) {
  const std::int64_t i = thread_index();
  if (i >= n) return;
  const std::int64_t row = i / width;
  y[i] = from_float<T>(x[(row + (row / per_frame + 1) * first) * width + i % width]);
}

}  // namespace

int embed(float* x, const std::int32_t* ids, Operand table, std::int64_t rows, int width,
          Stream stream) {
  return with_type(table.type, [&](auto type) {
    using T = decltype(type);
    return launch(embed_kernel<T>, grid_for(rows * width, kThreads), kThreads, 0, stream, x, ids,
                  data_as<T>(table), rows * width, width);
  });
}

int patchify(Operand y, const float* pixels, int frames, int side, int patch, Stream stream) {
  const int per_side = side / patch;
  const std::int64_t n = std::int64_t{frames} * per_side * per_side * 3 * patch * patch;
  return with_type(y.type, [&](auto type) {
    using T = decltype(type);
    return launch(patchify_kernel<T>, grid_for(n, kThreads), kThreads, 0, stream,
                  mutable_data_as<T>(y), pixels, n, side, patch);
  });
}

int add_positions(float* x, Operand patches, const float* cls, const float* positions, int frames,
                  int per_frame, int width, Stream stream) {
  const std::int64_t n = std::int64_t{frames} * (per_frame + (cls != nullptr ? 1 : 0)) * width;
  return with_type(patches.type, [&](auto type) {
    using T = decltype(type);
    return launch(add_positions_kernel<T>, grid_for(n, kThreads), kThreads, 0, stream, x,
                  data_as<T>(patches), cls, positions, n, per_frame, width);
  });
}

int select_patches(Operand y, const float* x, int frames, int first, int per_frame, int width,
                   Stream stream) {
  const std::int64_t n = std::int64_t{frames} * per_frame * width;
  return with_type(y.type, [&](auto type) {
    using T = decltype(type);
    return launch(select_patches_kernel<T>, grid_for(n, kThreads), kThreads, 0, stream,
                  mutable_data_as<T>(y), x, n, first, per_frame, width);
  });
}

}  // namespace pllava::cuda::kernels
