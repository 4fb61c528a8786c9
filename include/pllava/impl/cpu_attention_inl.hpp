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

/// Panels of bf16 hold pairs along the summed axis.
template <class T>
inline constexpr Index kGroupOf = std::is_same_v<T, bf16> ? 2 : 1;

/// Sizes of the cache of one head.
struct KvShape {
  Index dim;    // head dim, padded to pairs for keys
  Index width;  // head dim, padded to whole panels for values
  Index group;  // of elements that lie together: 2 in bf16, else 1

  KvShape(Index head_dim, Index group_size)
      : dim((head_dim + 1) / 2 * 2),
        width((head_dim + kPanel - 1) / kPanel * kPanel),
        group(group_size) {}
  /// Where position p begins; its groups lie 32 groups apart.
  Index key(Index p) const { return p / kPanel * kPanel * dim + p % kPanel * group; }
  /// Where the group of position p begins, for 32 columns from d on.
  Index value(Index p, Index d, Index capacity) const {
    return d * capacity + p / group * group * kPanel;
  }
  Index keys_size(Index capacity) const { return capacity * dim; }
  Index values_size(Index capacity) const { return capacity * width; }
};

/// Rotary positions, in place; `angles` holds cos, then sin, of dim/2 frequencies.
inline void rotate(float* x, const float* angles, Index dim) {
  const Index half = dim / 2;
  for (Index i = 0; i < half; ++i) {
    const float a = x[i], b = x[i + half], cosine = angles[i], sine = angles[i + half];
    x[i] = a * cosine - b * sine;
    x[i + half] = b * cosine + a * sine;
  }
}

/// A line of `count` elements as a column: groups of elements, `columns` groups apart.
template <Index kGroup, class T>
void spread(T* column, Index columns, const T* line, Index count) {
  for (Index i = 0; i < count; i += kGroup)
    std::memcpy(static_cast<void*>(column + i * columns), line + i, kGroup * sizeof(T));
}

template <class T>
void to_floats(const Kernels& kernels, float* dst, const T* src, Index n) {
  if constexpr (std::is_same_v<T, bf16>)
    kernels.bf16_to_float(dst, src, n);
  else
    std::memcpy(dst, src, static_cast<std::size_t>(n) * sizeof(float));
}

template <class T>
void from_floats(const Kernels& kernels, T* dst, const float* src, Index n) {
  if constexpr (std::is_same_v<T, bf16>)
    kernels.float_to_bf16(dst, src, n);
  else
    std::memcpy(dst, src, static_cast<std::size_t>(n) * sizeof(float));
}

template <class T>
void widen(const Kernels& kernels, T* dst, const std::int8_t* src, const float* of_columns,
           const float* of_lines, Index lines) {
  if constexpr (std::is_same_v<T, bf16>)
    kernels.widen_bf16(dst, src, of_columns, of_lines, lines);
  else
    kernels.widen_f32(dst, src, of_columns, of_lines, lines);
}

/// A query as a line of a left or right operand: rotated, if there are angles, and scaled. `floats`
/// is for its use.
template <class T, class Operand>
void read_query(const Kernels& kernels, Operand* line, std::vector<float>& floats, const T* src,
                const float* angles, float scale) {
  const auto dim = static_cast<Index>(floats.size());
  to_floats(kernels, floats.data(), src, dim);
  if (angles != nullptr) rotate(floats.data(), angles, dim);
  for (float& x : floats) x *= scale;
  from_floats(kernels, line, floats.data(), dim);
}

/// One tile product; `depth` is even.
template <class T, class Left>
void tile_product(const Kernels& kernels, Index rows, const Left* a, Index stride, const T* b,
                  Index depth, float* c) {
  if constexpr (std::is_same_v<T, bf16>)
    kernels.tile_bf16(rows, a, stride, b, depth / 2, c);
  else if constexpr (std::is_same_v<T, std::int8_t>)
    kernels.tile_bytes(rows, a, stride, b, depth, c);
  else
    kernels.tile_f32(rows, a, stride, b, depth, c);
}

}  // namespace detail

PLLAVA_INLINE KvLayer Backend::make_kv(const Heads& heads, Index capacity) {
  KvLayer kv;
  kv.capacity = (capacity + kPanel - 1) / kPanel * kPanel;
  const detail::KvShape shape(heads.dim, dtype_ == DType::bf16 && !options_.int8_kv ? 2 : 1);
  const Index element = options_.int8_kv ? 1 : size_of(dtype_);
  // calloc: zero padding, and pages that are never written are never resident
  const auto zeroed = [](Index size) -> std::shared_ptr<void> {
    const auto bytes = static_cast<std::size_t>(size);
    void* p = std::calloc(std::max<std::size_t>(bytes, 64), 1);
    if (p == nullptr) throw OutOfMemoryError("the key-value cache", bytes);
    return {p, [](void* q) { std::free(q); }};
  };
  kv.keys = zeroed(heads.kv * shape.keys_size(kv.capacity) * element);
  kv.values = zeroed(heads.kv * shape.values_size(kv.capacity) * element);
  if (options_.int8_kv) kv.scales = zeroed(heads.kv * 2 * kv.capacity * 4);
  return kv;
}

/// Rows of type T into panels of type E: T, or 8-bit integers with scales.
template <class T, class E>
void Backend::append(View qkv, const Heads& heads, const Rope<Backend>* rope, const Panels& kv,
                     Index past, Index first_row, Index rows) {
  const Index dh = heads.dim, width = heads.qkv_width();
  constexpr Index kGroup = detail::kGroupOf<E>;
  const detail::KvShape shape(dh, kGroup);
  constexpr Index kRows = 64;
  const Index blocks = (rows + kRows - 1) / kRows;
  // A block of rows begins on an even position, so that no two tasks share a pair of values.
  const Index odd = past % 2;
  pool_->run(heads.kv * (blocks + 1), [&](Index task) {
    const Index head = task / (blocks + 1), block = task % (blocks + 1);
    const Index begin = std::max<Index>(0, block * kRows - odd);
    const Index end = std::min(rows, (block + 1) * kRows - odd);
    E* keys = static_cast<E*>(kv.keys) + head * shape.keys_size(kv.capacity);
    E* values = static_cast<E*>(kv.values) + head * shape.values_size(kv.capacity);
    std::vector<float> floats(static_cast<std::size_t>(dh));
    std::vector<E> line(static_cast<std::size_t>(shape.dim));  // zero: padding
    const auto narrow = [&](Index scale) {
      if constexpr (std::is_same_v<E, std::int8_t>)
        kv.scales[scale] = kernels_->quantize_row(line.data(), floats.data(), dh);
      else
        detail::from_floats(*kernels_, line.data(), floats.data(), dh);
    };
    for (Index r = begin; r < end; ++r) {
      const Index p = past + r;
      const T* k = qkv.as<T>() + (first_row + r) * width + (heads.query + head) * dh;
      detail::to_floats(*kernels_, floats.data(), k, dh);
      if (rope != nullptr) detail::rotate(floats.data(), rope->table.floats() + p * dh, dh);
      narrow(2 * head * kv.capacity + p);
      detail::spread<kGroup>(keys + shape.key(p), kPanel, line.data(), shape.dim);

      detail::to_floats(*kernels_, floats.data(), k + heads.kv * dh, dh);
      narrow((2 * head + 1) * kv.capacity + p);
      for (Index d = 0; d < dh; d += kPanel) {
        E* value = values + shape.value(p, d, kv.capacity) + p % kGroup;
        for (Index i = 0; i < std::min(kPanel, dh - d); ++i)
          value[i * kGroup] = line[static_cast<std::size_t>(d + i)];
      }
    }
  });
}

/// Keys and values of one head: panels of P, those of 8 bits in units of their scales.
template <class P>
class Backend::HeadPanels {
 public:
  HeadPanels(const Heads& heads, const Panels& kv, Index head)
      : shape_(heads.dim, detail::kGroupOf<P>),
        capacity_(kv.capacity),
        keys_(static_cast<const P*>(kv.keys) + head * shape_.keys_size(kv.capacity)),
        values_(static_cast<const P*>(kv.values) + head * shape_.values_size(kv.capacity)),
        scales_(kv.scales == nullptr ? nullptr : kv.scales + 2 * head * kv.capacity) {}

  /// [dim/group][32][group]: 32 positions from p on.
  const P* keys(Index p) const { return keys_ + p * shape_.dim; }
  /// [n/group][32][group]: 32 dimensions from d on of positions from p on.
  const P* values(Index p, Index d) const { return values_ + shape_.value(p, d, capacity_); }
  /// Of positions from p on; null but for 8 bits.
  const float* key_scales(Index p) const { return scales_ == nullptr ? nullptr : scales_ + p; }
  const float* value_scales(Index p) const { return key_scales(capacity_ + p); }

 private:
  const detail::KvShape shape_;
  const Index capacity_;
  const P *keys_, *values_;
  const float* scales_;
};

/// For few queries: they are the rows of the products. Rows are of type T, panels of type P, left
/// operands of type Left.
template <class T, class P, class Left>
void Backend::attend_few(View o, View qkv, const Heads& heads, const Rope<Backend>* rope,
                         const Panels& kv, Index past, Index batch_rows, Index batch_index,
                         Mask mask) {
  const Index dh = heads.dim, width = heads.qkv_width();
  const Index share = heads.query / heads.kv;  // query heads that read one kv head
  const Index wanted = std::min(batch_rows, o.rows());
  const Index skipped = batch_rows - wanted;
  const detail::KvShape shape(dh, detail::kGroupOf<P>);
  constexpr bool kIntegers = std::is_same_v<P, std::int8_t>;
  constexpr Index kPair = detail::kGroupOf<Left>;
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
    std::vector<Left> q(size(shape.dim * mr));       // [dim/pair][row][pair]
    std::vector<Left> weights(size(kBlock * mr));    // [key/pair][row][pair]
    std::vector<float> scores(size(kBlock * mr));    // [key/32][row][32]
    std::vector<float> out(size(shape.width * mr));  // [dim/32][row][32]
    std::vector<float> floats(size(dh));
    std::vector<Left> line(size(shape.dim));
    alignas(64) float tile[16 * kPanel];
    float top[16], total[16], shrink[16];
    Index seen[16];
    std::fill(top, top + 16, -std::numeric_limits<float>::infinity());
    std::fill(total, total + 16, 0.0f);

    const auto position = [&](Index r) { return skipped + (first + r) / share; };  // in the batch
    for (Index r = 0; r < rows; ++r) {
      const Index n = position(r), h = head * share + (first + r) % share;
      detail::read_query(*kernels_, line.data(), floats,
                         qkv.as<T>() + (batch_index * batch_rows + n) * width + h * dh,
                         rope != nullptr ? rope->table.floats() + (past + n) * dh : nullptr, scale);
      detail::spread<kPair>(&q[size(r * kPair)], mr, line.data(), shape.dim);
    }

    const HeadPanels<P> panels(heads, kv, head);
    const Index reach = mask == Mask::causal ? past + position(rows - 1) + 1 : length;
    for (Index begin = 0; begin < reach; begin += kBlock) {
      const Index n = std::min(kBlock, (reach - begin + kPanel - 1) / kPanel * kPanel);
      for (Index p = 0; p < n; p += kPanel) {
        float* score = &scores[size(p * mr)];
        detail::tile_product(*kernels_, mr, q.data(), mr, panels.keys(begin + p), shape.dim, score);
        if constexpr (kIntegers)
          for (Index r = 0; r < rows; ++r, score += kPanel)
            for (Index i = 0; i < kPanel; ++i) score[i] *= panels.key_scales(begin + p)[i];
      }
      for (Index r = 0; r < rows; ++r) {
        const Index visible = mask == Mask::causal ? past + position(r) + 1 : length;
        seen[r] = std::clamp<Index>(visible - begin, 0, n);
      }
      const SoftmaxBlock block{rows, mr, n, scores.data(), seen, top, total, shrink};
      if constexpr (std::is_same_v<Left, bf16>)
        kernels_->softmax_bf16(block, weights.data());
      else
        kernels_->softmax_f32(block, weights.data());
      if constexpr (kIntegers)
        for (Index i = 0; i < n; ++i)
          for (Index r = 0; r < rows; ++r)
            weights[size(i * mr + r)] *= panels.value_scales(begin)[i];
      for (Index d = 0; d < shape.width; d += kPanel) {
        detail::tile_product(*kernels_, mr, weights.data(), mr, panels.values(begin, d), n, tile);
        for (Index r = 0; r < rows; ++r)
          kernels_->scale_add(&out[size(d * mr + r * kPanel)], shrink[r], tile + r * kPanel,
                              kPanel);
      }
    }
    for (Index r = 0; r < rows; ++r) {
      const Index n = position(r) - skipped, h = head * share + (first + r) % share;
      T* dst = o.as<T>() + ((batch_index * wanted + n) * heads.query + h) * dh;
      for (Index d = 0; d < dh; d += kPanel) {
        float* result = &out[size(d * mr + r * kPanel)];
        for (Index i = 0; i < kPanel; ++i) result[i] /= total[r];
        detail::from_floats(*kernels_, dst + d, result, std::min(kPanel, dh - d));
      }
    }
  });
}

/// For many queries: they are the columns of all products, 32 at a time, so that a lane has a query
/// for itself and nothing is summed across lanes or moved between them. Keys and values are the
/// left operands, as they lie in their panels: scores = K·Qᵀ, out = Vᵀ·weights. Operands of
/// products are of type Operand, panels of type P.
template <class T, class P, class Operand>
void Backend::attend_many(View o, View qkv, const Heads& heads, const Rope<Backend>* rope,
                          const Panels& kv, Index past, Index batch_rows, Index batch_index,
                          Mask mask) {
  constexpr Index kBlock = 64;  // keys: with their values and scores they fit the first-level cache
  constexpr Index kPair = detail::kGroupOf<Operand>;
  const Index dh = heads.dim, width = heads.qkv_width();
  const Index share = heads.query / heads.kv;  // query heads that read one kv head
  const Index wanted = std::min(batch_rows, o.rows()), skipped = batch_rows - wanted;
  const detail::KvShape shape(dh, detail::kGroupOf<P>);
  const Index length = past + batch_rows;
  const Index queries = wanted * share;  // (position, query head) of a kv head
  const Index blocks = (queries + kPanel - 1) / kPanel;
  const Index tile_rows = kernels_->max_rows < 8 ? 4 : 8;  // of a panel
  const float scale = 1.0f / std::sqrt(static_cast<float>(dh));

  pool_->run(heads.kv * blocks, [&](Index task) {
    const Index head = task / blocks;
    const Index first = (blocks - 1 - task % blocks) * kPanel;  // longest rows first
    const Index columns = std::min(kPanel, queries - first);
    const auto size = [](Index n) { return static_cast<std::size_t>(n); };
    std::vector<Operand> q(size(shape.dim * kPanel));     // [dim/pair][32][pair], zero: no query
    std::vector<float> scores(size(kBlock * kPanel));     // [key][32]
    std::vector<Operand> weights(size(kBlock * kPanel));  // [key/pair][32][pair]
    std::vector<float> out(size(shape.width * kPanel));   // [dim][32]
    std::vector<Operand> converted(                       // a panel
        std::is_same_v<P, Operand> ? 0 : size(kPanel * std::max(shape.dim, kBlock)));
    std::vector<float> floats(size(dh));
    alignas(64) float tile[8 * kPanel];
    alignas(64) float top[kPanel], total[kPanel] = {}, shrink[kPanel];
    alignas(64) std::int32_t seen[kPanel];
    std::fill(top, top + kPanel, -std::numeric_limits<float>::infinity());

    const auto position = [&](Index c) { return skipped + (first + c) / share; };  // in the batch
    std::vector<Operand> line(size(shape.dim));
    for (Index c = 0; c < columns; ++c) {
      const Index n = position(c), h = head * share + (first + c) % share;
      detail::read_query(*kernels_, line.data(), floats,
                         qkv.as<T>() + (batch_index * batch_rows + n) * width + h * dh,
                         rope != nullptr ? rope->table.floats() + (past + n) * dh : nullptr, scale);
      detail::spread<kPair>(&q[size(c * kPair)], kPanel, line.data(), shape.dim);
    }

    const HeadPanels<P> panels(heads, kv, head);
    // A panel of `lines` lines of 32 elements; 8 bits with factors of its columns or lines.
    const auto operand = [&](const P* panel, const float* of_columns, const float* of_lines,
                             Index lines) -> const Operand* {
      if constexpr (std::is_same_v<P, Operand>) return panel;
      if constexpr (std::is_same_v<P, std::int8_t>)
        detail::widen(*kernels_, converted.data(), panel, of_columns, of_lines, lines);
      else if constexpr (!std::is_same_v<P, Operand>)
        kernels_->split_pairs(converted.data(), panel, lines / 2);
      return converted.data();
    };
    const auto visible = [&](Index c) {
      return mask == Mask::causal && c < columns ? past + position(c) + 1 : length;
    };
    const Index reach = visible(columns - 1);
    for (Index begin = 0; begin < reach; begin += kBlock) {
      const Index n = std::min(kBlock, (reach - begin + kPanel - 1) / kPanel * kPanel);
      for (Index p = 0; p < n; p += kPanel) {
        const Operand* keys =
            operand(panels.keys(begin + p), panels.key_scales(begin + p), nullptr, shape.dim);
        for (Index r = 0; r < kPanel; r += tile_rows)
          detail::tile_product(*kernels_, tile_rows, keys + r * kPair, kPanel, q.data(), shape.dim,
                               &scores[size((p + r) * kPanel)]);
      }
      for (Index c = 0; c < kPanel; ++c)
        seen[c] = static_cast<std::int32_t>(std::clamp<Index>(visible(c) - begin, 0, n));
      const SoftmaxColumns block{n, scores.data(), seen, top, total, shrink};
      if constexpr (std::is_same_v<Operand, bf16>)
        kernels_->softmax_columns_bf16(block, weights.data());
      else
        kernels_->softmax_columns_f32(block, weights.data());
      for (Index d = 0; d < dh; d += kPanel) {
        const Operand* values =
            operand(panels.values(begin, d), nullptr, panels.value_scales(begin), n);
        for (Index r = 0; r < std::min(kPanel, dh - d); r += tile_rows) {
          detail::tile_product(*kernels_, tile_rows, values + r * kPair, kPanel, weights.data(), n,
                               tile);
          kernels_->scale_add_columns(&out[size((d + r) * kPanel)], shrink, tile, tile_rows);
        }
      }
    }
    for (Index c = 0; c < columns; ++c) {
      const Index n = position(c) - skipped, h = head * share + (first + c) % share;
      const float inverse = 1.0f / total[c];
      for (Index d = 0; d < dh; ++d) floats[size(d)] = out[size(d * kPanel + c)] * inverse;
      detail::from_floats(*kernels_,
                          o.as<T>() + ((batch_index * wanted + n) * heads.query + h) * dh,
                          floats.data(), dh);
    }
  });
}

template <class T, class P, class Operand>
void Backend::attend_as(View o, View qkv, const Heads& heads, const Rope<Backend>* rope,
                        const Panels& kv, Index past, Index batch_rows, Index batch_index,
                        Mask mask) {
  constexpr Index kMany = kPanel / 2;  // half of the columns are in use
  const Index queries = std::min(batch_rows, o.rows()) * heads.query / heads.kv;
  if (queries == 0) return;
  using Few = std::conditional_t<std::is_same_v<P, std::int8_t>, float, Operand>;
  if (queries < kMany)
    attend_few<T, P, Few>(o, qkv, heads, rope, kv, past, batch_rows, batch_index, mask);
  else
    attend_many<T, P, Operand>(o, qkv, heads, rope, kv, past, batch_rows, batch_index, mask);
}

PLLAVA_INLINE void Backend::attend(View o, View qkv, const Heads& heads, const Rope<Backend>* rope,
                                   KvLayer* kv, const Sequence& seq, Mask mask) {
  const Index rows = qkv.rows() / seq.batch;
  const auto run = [&]<class T, class Left>(T, Left) {
    if (kv != nullptr) {
      const Panels panels{kv->capacity, kv->keys.get(), kv->values.get(),
                          static_cast<float*>(kv->scales.get())};
      const Index past = *seq.past.as<std::int32_t>();
      if (panels.scales != nullptr) {
        append<T, std::int8_t>(qkv, heads, rope, panels, past, 0, rows);
        attend_as<T, std::int8_t, Left>(o, qkv, heads, rope, panels, past, rows, 0, mask);
      } else {
        append<T, T>(qkv, heads, rope, panels, past, 0, rows);
        attend_as<T, T, Left>(o, qkv, heads, rope, panels, past, rows, 0, mask);
      }
      return;
    }
    // One sequence at a time, in panels of scratch. What lies behind its rows is read with weight
    // zero, so it must be finite.
    auto scope = this->scope();
    const detail::KvShape shape(heads.dim, detail::kGroupOf<T>);
    const Index capacity = (rows + kPanel - 1) / kPanel * kPanel;
    const View keys = scratch({heads.kv * shape.keys_size(capacity)}, dtype_);
    const View values = scratch({heads.kv * shape.values_size(capacity)}, dtype_);
    std::memset(keys.data, 0, static_cast<std::size_t>(keys.bytes()));
    std::memset(values.data, 0, static_cast<std::size_t>(values.bytes()));
    const Panels panels{capacity, keys.data, values.data, nullptr};
    for (Index b = 0; b < seq.batch; ++b) {
      append<T, T>(qkv, heads, rope, panels, 0, b * rows, rows);
      attend_as<T, T, Left>(o, qkv, heads, rope, panels, 0, rows, b, mask);
    }
  };
  if (dtype_ == DType::f32)
    run(float{}, float{});
  else if (kernels_->bf16_left == DType::bf16)
    run(bf16{}, bf16{});
  else
    run(bf16{}, float{});
}

}  // namespace pllava::cpu
