// Adaptive average and max pooling, and bilinear resizing of frames.
#include "simt.cuh"

namespace pllava::cuda::kernels {
namespace {

constexpr int kThreads = 256;

/// Window i of an axis: floor(i * in / out) to ceil((i + 1) * in / out).
PLLAVA_DEVICE int window_begin(int i, int in, int out) {
  return static_cast<int>(static_cast<std::int64_t>(i) * in / out);
}
PLLAVA_DEVICE int window_end(int i, int in, int out) {
  return static_cast<int>((static_cast<std::int64_t>(i + 1) * in + out - 1) / out);
}

template <class Y, class X>
PLLAVA_KERNEL(kThreads, 1)
pool3d_kernel(Y* y, const X* x, std::int64_t n, Pool pool) {
  const std::int64_t index = thread_index();
  if (index >= n) return;
  const std::int64_t row = index / pool.width;
  const auto d = static_cast<int>(index % pool.width);
  int begin[3], end[3];
  std::int64_t rest = row;
  for (int axis = 2; axis >= 0; --axis) {
    const auto i = static_cast<int>(rest % pool.out[axis]);
    rest /= pool.out[axis];
    begin[axis] = window_begin(i, pool.in[axis], pool.out[axis]);
    end[axis] = window_end(i, pool.in[axis], pool.out[axis]);
  }
  float sum = 0, max = -INFINITY;
  for (int t = begin[0]; t < end[0]; ++t)
    for (int h = begin[1]; h < end[1]; ++h)
      for (int w = begin[2]; w < end[2]; ++w) {
        const std::int64_t at = (static_cast<std::int64_t>(t) * pool.in[1] + h) * pool.in[2] + w;
        const float v = to_float(x[at * pool.width + d]);
        sum += v;
        max = fmaxf(max, v);
      }
  const int count = (end[0] - begin[0]) * (end[1] - begin[1]) * (end[2] - begin[2]);
  y[index] = from_float<Y>(pool.kind == PoolKind::average ? sum / static_cast<float>(count) : max);
}

/// The inputs that output i of an axis lies between: (1 - weight) * x[first] + weight * x[second].
struct BilinearTaps {
  int first, second;
  float weight;
};

/// Those at (i + 1/2) * in / out - 1/2, clamped to the axis.
PLLAVA_DEVICE BilinearTaps bilinear_taps(int i, int in, int out) {
  const std::int64_t unit = 2 * std::int64_t{out};  // the position is in 1/unit
  const std::int64_t position = (2 * std::int64_t{i} + 1) * in - out;
  if (position <= 0) return {0, 0, 0.0f};
  const auto first = static_cast<int>(position / unit);
  if (first + 1 >= in) return {in - 1, in - 1, 0.0f};
  return {first, first + 1, static_cast<float>(position % unit) / static_cast<float>(unit)};
}

template <class Y, class X>
PLLAVA_KERNEL(kThreads, 1)
pool_bilinear_kernel(Y* y, const X* x, std::int64_t n, Pool pool) {
  const std::int64_t index = thread_index();
  if (index >= n) return;
  const auto d = static_cast<int>(index % pool.width);
  std::int64_t rest = index / pool.width;
  const BilinearTaps w =
      bilinear_taps(static_cast<int>(rest % pool.out[2]), pool.in[2], pool.out[2]);
  rest /= pool.out[2];
  const BilinearTaps h =
      bilinear_taps(static_cast<int>(rest % pool.out[1]), pool.in[1], pool.out[1]);
  const auto i = static_cast<int>(rest / pool.out[1]);
  const int begin = window_begin(i, pool.in[0], pool.out[0]);
  const int end = window_end(i, pool.in[0], pool.out[0]);
  float sum = 0;
  for (int t = begin; t < end; ++t) {
    const X* const frame = x + static_cast<std::int64_t>(t) * pool.in[1] * pool.in[2] * pool.width;
    const auto line = [&](int j) {
      const X* const row = frame + static_cast<std::int64_t>(j) * pool.in[2] * pool.width + d;
      return (1.0f - w.weight) * to_float(row[static_cast<std::int64_t>(w.first) * pool.width]) +
             w.weight * to_float(row[static_cast<std::int64_t>(w.second) * pool.width]);
    };
    sum += (1.0f - h.weight) * line(h.first) + h.weight * line(h.second);
  }
  y[index] = from_float<Y>(sum / static_cast<float>(end - begin));
}

}  // namespace

int pool3d(Operand y, Operand x, const Pool& pool, Stream stream) {
  const std::int64_t n = std::int64_t{pool.out[0]} * pool.out[1] * pool.out[2] * pool.width;
  return with_type(y.type, [&](auto to) {
    return with_type(x.type, [&](auto from) {
      using Y = decltype(to);
      using X = decltype(from);
      if (pool.kind == PoolKind::bilinear)
        return launch(pool_bilinear_kernel<Y, X>, grid_for(n, kThreads), kThreads, 0, stream,
                      mutable_data_as<Y>(y), data_as<X>(x), n, pool);
      return launch(pool3d_kernel<Y, X>, grid_for(n, kThreads), kThreads, 0, stream,
                    mutable_data_as<Y>(y), data_as<X>(x), n, pool);
    });
  });
}

}  // namespace pllava::cuda::kernels
