// Verbs of the vision encoder and the pooling.
#pragma once

#include <algorithm>

#include "pllava/cpu/backend.hpp"
#include "pllava/cpu/detail/execution_context.hpp"
#include "pllava/cpu/detail/rows.hpp"
#include "pllava/media/preprocess.hpp"

namespace pllava::cpu {

PLLAVA_INLINE void Backend::preprocess(View pixels, std::span<const Frame> frames,
                                       const PreprocessConfig& config) {
  pllava::preprocess(frames, pixels.as<float>(), config,
                     [this](Index n, const auto& job) { pool_->run(n, job); });
}

PLLAVA_INLINE void Backend::patchify(View y, ConstView pixels, Index patch) {
  const Index S = pixels.shape[2], side = S / patch, width = 3 * patch * patch;
  auto scope = this->scope();
  const auto rows = context().per_thread<float>(width);
  pool_->run(y.rows(), [&](Index row, Index thread) {
    const Index t = row / (side * side), py = row / side % side, px = row % side;
    float* const values = rows[thread];
    float* out = values;
    for (Index c = 0; c < 3; ++c)
      for (Index i = 0; i < patch; ++i, out += patch)
        copy(out, pixels.as<float>() + ((t * 3 + c) * S + py * patch + i) * S + px * patch,
             patch * 4);
    detail::store_row(*kernels_, y, row, values);
  });
}

PLLAVA_INLINE void Backend::add_positions(View x, ConstView patches, const Weight& cls,
                                          const Weight& positions, Index per_frame) {
  const Index D = x.cols(), first = cls ? 1 : 0, rows = per_frame + first;
  pool_->run(x.rows() / rows, [&](Index t) {
    for (Index p = 0; p < rows; ++p) {
      float* row = x.as<float>() + (t * rows + p) * D;
      if (p < first)
        copy(row, cls.floats(), D * 4);
      else
        detail::load_row(*kernels_, row, patches, t * per_frame + p - first);
      kernels_->add(row, positions.floats() + p * D, D);
    }
  });
}

PLLAVA_INLINE void Backend::select_patches(View y, ConstView x, Index per_frame) {
  const Index frames = y.rows() / per_frame, first = x.rows() / frames - per_frame;
  for (Index r = 0; r < y.rows(); ++r)
    detail::store_row(*kernels_, y, r,
                      x.as<float>() + (r + (r / per_frame + 1) * first) * x.cols());
}

PLLAVA_INLINE void Backend::pool3d(View y, ConstView x, const Grid& in, const Grid& out,
                                   PoolKind kind) {
  if (kind == PoolKind::bilinear) return pool_bilinear(y, x, in, out);
  const Index D = x.cols();
  const auto begin = [](Index i, Index n, Index m) { return i * n / m; };
  const auto end = [](Index i, Index n, Index m) { return ((i + 1) * n + m - 1) / m; };
  auto scope = this->scope();
  const auto totals = context().per_thread<float>(D), rows = context().per_thread<float>(D);
  pool_->run(out.count(), [&](Index row, Index thread) {
    const Index i = row / (out.h * out.w), j = row / out.w % out.h, k = row % out.w;
    float *const total = totals[thread], *const x_row = rows[thread];
    Index count = 0;
    for (Index t = begin(i, in.t, out.t); t < end(i, in.t, out.t); ++t)
      for (Index h = begin(j, in.h, out.h); h < end(j, in.h, out.h); ++h)
        for (Index w = begin(k, in.w, out.w); w < end(k, in.w, out.w); ++w, ++count) {
          detail::load_row(*kernels_, count == 0 ? total : x_row, x, (t * in.h + h) * in.w + w);
          if (count == 0) continue;
          if (kind == PoolKind::average)
            kernels_->add(total, x_row, D);
          else
            for (Index d = 0; d < D; ++d) total[d] = std::max(total[d], x_row[d]);
        }
    if (kind == PoolKind::average)
      for (Index d = 0; d < D; ++d) total[d] /= static_cast<float>(count);
    detail::store_row(*kernels_, y, row, total);
  });
}

PLLAVA_INLINE void Backend::pool_bilinear(View y, ConstView x, const Grid& in, const Grid& out) {
  const Index D = x.cols();
  auto scope = this->scope();
  const auto totals = context().per_thread<float>(D), rows = context().per_thread<float>(D);
  pool_->run(out.count(), [&](Index row, Index thread) {
    const Index i = row / (out.h * out.w);
    const BilinearTaps h = bilinear_taps(row / out.w % out.h, in.h, out.h);
    const BilinearTaps w = bilinear_taps(row % out.w, in.w, out.w);
    const Index begin = i * in.t / out.t, end = ((i + 1) * in.t + out.t - 1) / out.t;
    float *const total = totals[thread], *const x_row = rows[thread];
    std::fill_n(total, D, 0.0f);
    const auto add = [&](Index t, Index j, Index k, float weight) {
      if (weight == 0.0f) return;
      detail::load_row(*kernels_, x_row, x, (t * in.h + j) * in.w + k);
      for (Index d = 0; d < D; ++d) total[d] += weight * x_row[d];
    };
    const float share = 1.0f / static_cast<float>(end - begin);
    for (Index t = begin; t < end; ++t) {
      add(t, h.first, w.first, share * (1.0f - h.weight) * (1.0f - w.weight));
      add(t, h.first, w.second, share * (1.0f - h.weight) * w.weight);
      add(t, h.second, w.first, share * h.weight * (1.0f - w.weight));
      add(t, h.second, w.second, share * h.weight * w.weight);
    }
    detail::store_row(*kernels_, y, row, total);
  });
}

}  // namespace pllava::cpu
