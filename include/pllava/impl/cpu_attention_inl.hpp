// CPU attention: online softmax over blocks of keys, never a full score matrix. Keys and values are
// stored as the panels that the matrix kernels read, so scores and mixtures are two tile products.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "pllava/cpu/backend.hpp"

namespace pllava::cpu {

namespace detail {

inline constexpr Index kKeyBlock = 256;  // keys per softmax step, a multiple of 32

/// Sizes of the cache of one head. Elements come in groups of two along the summed axis in bf16.
struct KvShape {
  Index dim;    // head dim, padded to the group for keys
  Index width;  // head dim, padded to whole panels for values
  Index group;  // 2 in bf16, 1 in f32

  KvShape(Index head_dim, DType dtype) : group(dtype == DType::bf16 ? 2 : 1) {
    dim = (head_dim + group - 1) / group * group;
    width = (head_dim + kPanel - 1) / kPanel * kPanel;
  }
  Index key(Index p, Index d) const {
    return (p / kPanel * dim + d / group * group) * kPanel + p % kPanel * group + d % group;
  }
  Index value(Index p, Index d, Index capacity) const {
    return (d / kPanel * capacity + p / group * group) * kPanel + d % kPanel * group + p % group;
  }
};

}  // namespace detail

PLLAVA_INLINE KvLayer Backend::make_kv(const Heads& heads, Index capacity) {
  KvLayer kv;
  kv.capacity = (capacity + kPanel - 1) / kPanel * kPanel;
  const detail::KvShape shape(heads.dim, options_.dtype);
  const Index element = size_of(options_.dtype);
  // calloc: zero padding, and pages that are never written are never resident
  const auto zeroed = [&](Index count) -> std::shared_ptr<void> {
    const auto bytes = static_cast<std::size_t>(count * element);
    void* p = std::calloc(std::max<std::size_t>(bytes, 64), 1);
    if (p == nullptr) throw OutOfMemoryError("the key-value cache", bytes);
    return {p, [](void* q) { std::free(q); }};
  };
  kv.keys = zeroed(heads.kv * kv.capacity * shape.dim);
  kv.values = zeroed(heads.kv * kv.capacity * shape.width);
  return kv;
}

template <class T>
void Backend::append(View qkv, const Heads& heads, const Rope<Backend>* rope, KvLayer& kv,
                     Index past, Index first_row, Index rows) {
  const Index dh = heads.dim, half = dh / 2, width = heads.qkv_width();
  const detail::KvShape shape(dh, options_.dtype);
  constexpr Index kRows = 64;
  const Index blocks = (rows + kRows - 1) / kRows;
  // A block of rows begins on an even position, so that no two tasks share a pair of values.
  const Index odd = past % 2;
  pool_->run(heads.kv * (blocks + 1), [&](Index task) {
    const Index head = task / (blocks + 1), block = task % (blocks + 1);
    const Index begin = std::max<Index>(0, block * kRows - odd);
    const Index end = std::min(rows, (block + 1) * kRows - odd);
    T* keys = static_cast<T*>(kv.keys.get()) + head * kv.capacity * shape.dim;
    T* values = static_cast<T*>(kv.values.get()) + head * kv.capacity * shape.width;
    for (Index r = begin; r < end; ++r) {
      const Index p = past + r;
      const T* k = qkv.as<T>() + (first_row + r) * width + (heads.query + head) * dh;
      const T* v = k + heads.kv * dh;
      const float* angles = rope != nullptr ? rope->table.floats() + p * dh : nullptr;
      for (Index d = 0; d < dh; ++d) {
        float key = to_float(k[d]);
        if (angles != nullptr) {
          const float other = d < half ? -to_float(k[d + half]) : to_float(k[d - half]);
          key = key * angles[d % half] + other * angles[half + d % half];
        }
        keys[shape.key(p, d)] = from_float<T>(key);
        values[shape.value(p, d, kv.capacity)] = v[d];
        // the partner of an even position is read with weight zero: it must be finite
        if (shape.group == 2 && p % 2 == 0) values[shape.value(p + 1, d, kv.capacity)] = T{};
      }
    }
  });
}

template <class T>
void Backend::attend_as(View o, View qkv, const Heads& heads, const Rope<Backend>* rope,
                        KvLayer& kv, Index past, Index batch_rows, Index batch_index, Mask mask) {
  const Index dh = heads.dim, half = dh / 2, width = heads.qkv_width();
  const Index share = heads.query / heads.kv;  // query heads that read one kv head
  const Index wanted = std::min(batch_rows, o.rows());
  const Index skipped = batch_rows - wanted;
  const detail::KvShape shape(dh, options_.dtype);
  const Index length = past + batch_rows;
  const Index queries = wanted * share;  // rows of a head's product: (position, query head)
  const Index tile_rows = std::min(kernels_->max_rows, kernels_->packed_rows(queries));
  const Index tiles = (queries + tile_rows - 1) / tile_rows;
  const float scale = 1.0f / std::sqrt(static_cast<float>(dh));
  constexpr Index kBlock = detail::kKeyBlock;

  pool_->run(heads.kv * tiles, [&](Index task) {
    const Index head = task / tiles;
    const Index first = (tiles - 1 - task % tiles) * tile_rows;  // longest rows first
    const Index rows = std::min(tile_rows, queries - first);
    const Index mr = kernels_->packed_rows(rows);
    const auto size = [](Index n) { return static_cast<std::size_t>(n); };
    std::vector<T> q(size(shape.dim * mr));          // [dim/group][row][group]
    std::vector<T> weights(size(kBlock * mr));       // [key/group][row][group]
    std::vector<float> scores(size(mr * kBlock));    // (row, key)
    std::vector<float> out(size(mr * shape.width));  // (row, dim)
    std::vector<float> row(size(dh));
    alignas(64) float tile[16 * kPanel];
    float top[16], total[16];
    std::fill(top, top + 16, -std::numeric_limits<float>::infinity());
    std::fill(total, total + 16, 0.0f);

    const auto position = [&](Index r) { return skipped + (first + r) / share; };  // in the batch
    for (Index r = 0; r < rows; ++r) {
      const Index n = position(r), h = head * share + (first + r) % share;
      const T* src = qkv.as<T>() + (batch_index * batch_rows + n) * width + h * dh;
      for (Index d = 0; d < dh; ++d) row[size(d)] = to_float(src[d]);
      const float* angles = rope != nullptr ? rope->table.floats() + (past + n) * dh : nullptr;
      for (Index d = 0; d < dh; ++d) {
        float v = row[size(d)];
        if (angles != nullptr) {
          const float other = d < half ? -row[size(d + half)] : row[size(d - half)];
          v = v * angles[d % half] + other * angles[half + d % half];
        }
        q[size((d / shape.group * mr + r) * shape.group + d % shape.group)] =
            from_float<T>(v * scale);
      }
    }

    const T* keys = static_cast<const T*>(kv.keys.get()) + head * kv.capacity * shape.dim;
    const T* values = static_cast<const T*>(kv.values.get()) + head * kv.capacity * shape.width;
    const Index reach = mask == Mask::causal ? past + position(rows - 1) + 1 : length;
    for (Index begin = 0; begin < reach; begin += kBlock) {
      const Index n = std::min(kBlock, reach - begin);
      // scores of the block
      for (Index p = 0; p < n; p += kPanel) {
        const T* panel = keys + (begin + p) * shape.dim;
        if constexpr (std::is_same_v<T, bf16>)
          kernels_->tile_bf16(mr, q.data(), panel, shape.dim / 2, tile);
        else
          kernels_->tile_f32(mr, q.data(), panel, shape.dim, tile);
        for (Index r = 0; r < rows; ++r)
          copy(&scores[size(r * kBlock + p)], tile + r * kPanel, kPanel * 4);
      }
      // softmax weights, relative to the highest score so far
      const Index padded = (n + shape.group - 1) / shape.group * shape.group;
      std::fill(weights.begin(), weights.end(), T{});
      for (Index r = 0; r < rows; ++r) {
        float* s = &scores[size(r * kBlock)];
        const Index seen =
            mask == Mask::causal ? std::clamp<Index>(past + position(r) + 1 - begin, 0, n) : n;
        if (seen == 0) continue;
        const float high = std::max(top[r], kernels_->maximum(s, seen));
        const float shrink = std::exp(top[r] - high);
        top[r] = high;
        total[r] = total[r] * shrink + kernels_->exp_sum(s, high, seen);
        kernels_->scale(&out[size(r * shape.width)], shrink, shape.width);
        for (Index p = 0; p < seen; ++p)
          weights[size((p / shape.group * mr + r) * shape.group + p % shape.group)] =
              from_float<T>(s[p]);
      }
      // mixture of the block's values
      for (Index d = 0; d < shape.width; d += kPanel) {
        const T* panel = values + d * kv.capacity + begin * kPanel;
        if constexpr (std::is_same_v<T, bf16>)
          kernels_->tile_bf16(mr, weights.data(), panel, padded / 2, tile);
        else
          kernels_->tile_f32(mr, weights.data(), panel, padded, tile);
        for (Index r = 0; r < rows; ++r)
          kernels_->add(&out[size(r * shape.width + d)], tile + r * kPanel, kPanel);
      }
    }
    for (Index r = 0; r < rows; ++r) {
      const Index n = position(r) - skipped, h = head * share + (first + r) % share;
      float* result = &out[size(r * shape.width)];
      kernels_->scale(result, 1.0f / total[r], dh);
      T* dst = o.as<T>() + ((batch_index * wanted + n) * heads.query + h) * dh;
      for (Index d = 0; d < dh; ++d) dst[d] = from_float<T>(result[d]);
    }
  });
}

PLLAVA_INLINE void Backend::attend(View o, View qkv, const Heads& heads, const Rope<Backend>* rope,
                                   KvLayer* kv, const Sequence& seq, Mask mask) {
  const Index rows = qkv.rows() / seq.batch;
  const auto run = [&]<class T>(T) {
    if (kv != nullptr) {
      const Index past = *seq.past.as<std::int32_t>();
      append<T>(qkv, heads, rope, *kv, past, 0, rows);
      if (o.rows() > 0) attend_as<T>(o, qkv, heads, rope, *kv, past, rows, 0, mask);
      return;
    }
    KvLayer temporary = make_kv(heads, rows);  // one sequence at a time, in panels
    for (Index b = 0; b < seq.batch; ++b) {
      append<T>(qkv, heads, rope, temporary, 0, b * rows, rows);
      attend_as<T>(o, qkv, heads, rope, temporary, 0, rows, b, mask);
    }
  };
  if (options_.dtype == DType::bf16)
    run(bf16{});
  else
    run(float{});
}

}  // namespace pllava::cpu
