// CPU attention: online softmax over blocks of keys, never a full score matrix. Keys and values are
// stored as the panels that the matrix kernels read, so scores and mixtures are two tile products.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "pllava/cpu/backend.hpp"
#include "pllava/cpu/detail/per_thread.hpp"

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
        width((head_dim + kPanelWidth - 1) / kPanelWidth * kPanelWidth),
        group(group_size) {}
  /// Where position p begins; its groups lie 32 groups apart.
  Index key(Index p) const { return p / kPanelWidth * kPanelWidth * dim + p % kPanelWidth * group; }
  /// Where the group of position p begins, for 32 columns from d on.
  Index value(Index p, Index d, Index capacity) const {
    return d * capacity + p / group * group * kPanelWidth;
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
    kernels.dequantize_panel_bf16(dst, src, of_columns, of_lines, lines);
  else
    kernels.dequantize_panel_f32(dst, src, of_columns, of_lines, lines);
}

inline constexpr Index kRowsAhead = 4;

/// Asks for a head of a row some rows before it is read: rows lie too far apart for the machine to
/// see what comes next.
template <class T>
void prefetch(const T* head, Index dim) {
  constexpr Index kCacheLine = 64 / sizeof(T);
  for (Index i = 0; i < dim; i += kCacheLine) __builtin_prefetch(head + i);
}

/// One tile product; `depth` is even.
template <class T, class Left>
void tile_product(const Kernels& kernels, Index rows, const Left* a, Index stride, const T* b,
                  Index depth, float* c) {
  if constexpr (std::is_same_v<T, bf16>)
    kernels.tile_bf16(rows, a, stride, b, depth / 2, c);
  else if constexpr (std::is_same_v<T, std::int8_t>)
    kernels.tile_f32_int8(rows, a, stride, b, depth, c);
  else
    kernels.tile_f32(rows, a, stride, b, depth, c);
}

}  // namespace detail

PLLAVA_INLINE KvLayer Backend::make_kv(const Heads& heads, Index capacity) {
  KvLayer kv;
  kv.capacity = (capacity + kPanelWidth - 1) / kPanelWidth * kPanelWidth;
  const detail::KvShape shape(heads.head_dim, dtype_ == DType::bf16 && !options_.int8_kv ? 2 : 1);
  const Index element = options_.int8_kv ? 1 : size_of(dtype_);
  // calloc: zero padding, and pages that are never written are never resident
  const auto zeroed = [](Index size) -> std::shared_ptr<void> {
    const auto bytes = static_cast<std::size_t>(size);
    void* p = std::calloc(std::max<std::size_t>(bytes, 64), 1);
    if (p == nullptr) throw OutOfMemoryError("the key-value cache", bytes);
    return {p, [](void* q) { std::free(q); }};
  };
  kv.keys = zeroed(heads.num_kv_heads * shape.keys_size(kv.capacity) * element);
  kv.values = zeroed(heads.num_kv_heads * shape.values_size(kv.capacity) * element);
  if (options_.int8_kv) kv.scales = zeroed(heads.num_kv_heads * 2 * kv.capacity * 4);
  return kv;
}

/// The rows of one sequence, of type T: keys and values to append, and queries. Those of a kv head
/// are the pairs of a wanted row and a query head that reads this kv head, in this order.
template <class T>
struct Backend::Rows {
  View o;         // of all sequences
  ConstView qkv;  // of all sequences
  const Heads& heads;
  const Rope<Weight>* rope;
  Mask mask;
  Index past;      // keys before those of the rows
  Index count;     // of a sequence
  Index sequence;  // which of them

  const T* of(Index row, Index head) const {  // heads of queries, keys, values
    return qkv.as<T>() + (sequence * count + row) * heads.qkv_width() + head * heads.head_dim;
  }
  const T* key(Index kv_head, Index row) const { return of(row, heads.num_query_heads + kv_head); }
  const T* value(Index kv_head, Index row) const { return key(heads.num_kv_heads + kv_head, row); }
  void rotate(float* x, Index row) const {
    if (rope != nullptr)
      detail::rotate(x, rope->table.floats() + (past + row) * heads.head_dim, heads.head_dim);
  }

  Index share() const { return heads.group_size(); }
  Index wanted() const { return std::min(count, o.rows()); }
  Index queries() const { return wanted() * share(); }
  Index row(Index query) const { return count - wanted() + query / share(); }
  /// How many of the keys it may look at, from the first.
  Index visible(Index query) const {
    return past + (mask == Mask::causal ? row(query) + 1 : count);
  }
  const T* query(Index kv_head, Index query) const {
    return of(row(query), kv_head * share() + query % share());
  }
  T* result(Index kv_head, Index query) const {
    const Index n = sequence * wanted() + query / share();
    return o.as<T>() +
           (n * heads.num_query_heads + kv_head * share() + query % share()) * heads.head_dim;
  }
  /// A query as a line of a left or right operand: rotated, and scaled by 1/√dim. `floats` is for
  /// its use.
  template <class Operand>
  void read_query(const Kernels& kernels, Operand* line, float* floats, Index kv_head,
                  Index n) const {
    detail::to_floats(kernels, floats, query(kv_head, n), heads.head_dim);
    rotate(floats, row(n));
    const float scale = 1.0f / std::sqrt(static_cast<float>(heads.head_dim));
    for (Index i = 0; i < heads.head_dim; ++i) floats[i] *= scale;
    detail::from_floats(kernels, line, floats, heads.head_dim);
  }
};

/// Keys and values of the rows into panels of type E: T or the products' type, or 8-bit integers
/// with scales.
template <class T, class E>
void Backend::append(const Rows<T>& rows, const Panels& kv) {
  const Heads& heads = rows.heads;
  const Index dh = heads.head_dim, past = rows.past;
  constexpr Index kGroup = detail::kGroupOf<E>;
  const detail::KvShape shape(dh, kGroup);
  constexpr Index kRows = 64;
  const Index blocks = (rows.count + kRows - 1) / kRows;
  // A block of rows begins on an even position, so that no two tasks share a pair of values.
  const Index odd = past % 2;
  auto scope = this->scope();
  const detail::PerThread<float> f32_rows(*arena_, *pool_, dh);
  const detail::PerThread<E> lines(*arena_, *pool_, shape.dim);
  pool_->run(heads.num_kv_heads * (blocks + 1), [&](Index task, Index thread) {
    const Index head = task / (blocks + 1), block = task % (blocks + 1);
    const Index begin = std::max<Index>(0, block * kRows - odd);
    const Index end = std::min(rows.count, (block + 1) * kRows - odd);
    E* keys = static_cast<E*>(kv.keys) + head * shape.keys_size(kv.capacity);
    E* values = static_cast<E*>(kv.values) + head * shape.values_size(kv.capacity);
    float* const floats = f32_rows[thread];
    E* const line = lines[thread];
    std::fill(line + dh, line + shape.dim, E{});  // padding
    const auto narrow = [&](Index scale) {
      if constexpr (std::is_same_v<E, std::int8_t>)
        kv.scales[scale] = kernels_->quantize_row(line, floats, dh);
      else
        detail::from_floats(*kernels_, line, floats, dh);
    };
    for (Index r = begin; r < end; ++r) {
      const Index p = past + r, ahead = std::min(r + detail::kRowsAhead, end - 1);
      detail::prefetch(rows.key(head, ahead), dh);
      detail::prefetch(rows.value(head, ahead), dh);
      detail::to_floats(*kernels_, floats, rows.key(head, r), dh);
      rows.rotate(floats, r);
      narrow(2 * head * kv.capacity + p);
      detail::spread<kGroup>(keys + shape.key(p), kPanelWidth, line, shape.dim);

      detail::to_floats(*kernels_, floats, rows.value(head, r), dh);
      narrow((2 * head + 1) * kv.capacity + p);
      for (Index d = 0; d < dh; d += kPanelWidth) {
        E* value = values + shape.value(p, d, kv.capacity) + p % kGroup;
        for (Index i = 0; i < std::min(kPanelWidth, dh - d); ++i) value[i * kGroup] = line[d + i];
      }
    }
  });
}

/// Keys and values of one head: panels of P, those of 8 bits in units of their scales.
template <class P>
class Backend::HeadPanels {
 public:
  HeadPanels(const Heads& heads, const Panels& kv, Index head)
      : shape_(heads.head_dim, detail::kGroupOf<P>),
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

/// For few queries, those from `from` on: they are the rows of the products. Panels are of type P,
/// left operands of type Left.
template <class T, class P, class Left>
void Backend::attend_few(const Rows<T>& rows, const Panels& kv, Index from) {
  const Heads& heads = rows.heads;
  const detail::KvShape shape(heads.head_dim, detail::kGroupOf<P>);
  constexpr Index kPair = detail::kGroupOf<Left>;
  constexpr Index kBlock = detail::kKeyBlock;
  const Index count = rows.queries() - from;
  const Index tiles = (count + kernels_->max_tile_rows - 1) / kernels_->max_tile_rows;
  const Index tile_rows = kernels_->padded_rows((count + tiles - 1) / tiles);
  // A task reads keys and values once for all its tiles, unless threads would be left without one.
  const Index per_task = heads.num_kv_heads < pool_->size() ? 1 : tiles, tasks = tiles / per_task;
  const Index mr = per_task * tile_rows;

  auto scope = this->scope();
  const detail::PerThread<Left> qs(*arena_, *pool_, shape.dim * mr);
  const detail::PerThread<Left> all_weights(*arena_, *pool_, kBlock * mr);
  const detail::PerThread<float> all_scores(*arena_, *pool_, kBlock * mr);
  const detail::PerThread<float> outs(*arena_, *pool_, shape.width * mr);
  const detail::PerThread<float> f32_rows(*arena_, *pool_, heads.head_dim);
  const detail::PerThread<Left> lines(*arena_, *pool_, shape.dim);
  pool_->run(heads.num_kv_heads * tasks, [&](Index task, Index thread) {
    const Index head = task / tasks, first = from + task % tasks * mr;
    const Index queries = std::min(mr, rows.queries() - first);
    Left* const q = qs[thread];                 // [dim/pair][row][pair]
    Left* const weights = all_weights[thread];  // [key/pair][row][pair]
    float* const scores = all_scores[thread];   // [key/32][row][32]
    float* const out = outs[thread];            // [dim/32][row][32]
    float* const floats = f32_rows[thread];
    Left* const line = lines[thread];
    std::fill_n(q, shape.dim * mr, Left{});     // padding rows
    std::fill_n(weights, kBlock * mr, Left{});  // padding rows
    std::fill_n(out, shape.width * mr, 0.0f);
    std::fill_n(line, shape.dim, Left{});  // padding
    alignas(64) float tile[kMaxTileRows * kPanelWidth];
    float top[kMaxTileRows], total[kMaxTileRows], shrink[kMaxTileRows];
    Index seen[kMaxTileRows];
    std::fill(top, top + kMaxTileRows, -std::numeric_limits<float>::infinity());
    std::fill(total, total + kMaxTileRows, 0.0f);

    for (Index r = 0; r < queries; ++r) {
      rows.read_query(*kernels_, line, floats, head, first + r);
      detail::spread<kPair>(q + r * kPair, mr, line, shape.dim);
    }

    const HeadPanels<P> panels(heads, kv, head);
    const Index reach = rows.visible(first + queries - 1);
    for (Index begin = 0; begin < reach; begin += kBlock) {
      const Index n =
          std::min(kBlock, (reach - begin + kPanelWidth - 1) / kPanelWidth * kPanelWidth);
      for (Index p = 0; p < n; p += kPanelWidth)
        for (Index r = 0; r < queries; r += tile_rows)
          detail::tile_product(*kernels_, tile_rows, q + r * kPair, mr, panels.keys(begin + p),
                               shape.dim, scores + p * mr + r * kPanelWidth);
      for (Index r = 0; r < queries; ++r)
        seen[r] = std::clamp<Index>(rows.visible(first + r) - begin, 0, n);
      const SoftmaxRows block{.num_queries = queries,
                              .stride = mr,
                              .num_keys = n,
                              .scores = scores,
                              .key_scales = panels.key_scales(begin),
                              .value_scales = panels.value_scales(begin),
                              .num_visible = seen,
                              .running_max = top,
                              .running_sum = total,
                              .rescale = shrink};
      if constexpr (std::is_same_v<Left, bf16>)
        kernels_->softmax_rows_bf16(block, weights);
      else
        kernels_->softmax_rows_f32(block, weights);
      for (Index d = 0; d < shape.width; d += kPanelWidth)
        for (Index t = 0; t < queries; t += tile_rows) {
          detail::tile_product(*kernels_, tile_rows, weights + t * kPair, mr,
                               panels.values(begin, d), n, tile);
          for (Index r = t; r < std::min(queries, t + tile_rows); ++r)
            kernels_->scale_add(out + d * mr + r * kPanelWidth, shrink[r],
                                tile + (r - t) * kPanelWidth, kPanelWidth);
        }
    }
    for (Index r = 0; r < queries; ++r)
      for (Index d = 0; d < heads.head_dim; d += kPanelWidth) {
        float* result = out + d * mr + r * kPanelWidth;
        for (Index i = 0; i < kPanelWidth; ++i) result[i] /= total[r];
        detail::from_floats(*kernels_, rows.result(head, first + r) + d, result,
                            std::min(kPanelWidth, heads.head_dim - d));
      }
  });
}

/// For many queries, those before `to`: they are the columns of all products, 32 at a time, so that
/// a lane has a query for itself and nothing is summed across lanes or moved between them. Keys and
/// values are the left operands, as they lie in their panels: scores = K·Qᵀ, out = Vᵀ·weights.
/// Operands of products are of type Operand, panels of type P.
template <class T, class P, class Operand>
void Backend::attend_many(const Rows<T>& rows, const Panels& kv, Index to) {
  constexpr Index kBlock = 64;  // keys: with their values and scores they fit the first-level cache
  constexpr Index kPair = detail::kGroupOf<Operand>;
  const Heads& heads = rows.heads;
  const Index dh = heads.head_dim;
  const detail::KvShape shape(dh, detail::kGroupOf<P>);
  const Index blocks = (to + kPanelWidth - 1) / kPanelWidth;
  const Index tile_rows = kernels_->max_tile_rows < 8 ? 4 : 8;  // of a panel

  auto scope = this->scope();
  const detail::PerThread<Operand> qs(*arena_, *pool_, shape.dim * kPanelWidth);
  const detail::PerThread<float> all_scores(*arena_, *pool_, kBlock * kPanelWidth);
  const detail::PerThread<Operand> all_weights(*arena_, *pool_, kBlock * kPanelWidth);
  const detail::PerThread<float> outs(*arena_, *pool_, shape.width * kPanelWidth);
  const detail::PerThread<Operand> panels_as_operands(
      *arena_, *pool_, std::is_same_v<P, Operand> ? 0 : kPanelWidth * std::max(shape.dim, kBlock));
  const detail::PerThread<float> f32_rows(*arena_, *pool_, dh);
  const detail::PerThread<Operand> lines(*arena_, *pool_, shape.dim);
  pool_->run(heads.num_kv_heads * blocks, [&](Index task, Index thread) {
    const Index head = task / blocks;
    const Index first = (blocks - 1 - task % blocks) * kPanelWidth;  // longest rows first
    const Index columns = std::min(kPanelWidth, to - first);
    Operand* const q = qs[thread];                 // [dim/pair][32][pair], zero: no query
    float* const scores = all_scores[thread];      // [key][32]
    Operand* const weights = all_weights[thread];  // [key/pair][32][pair]
    float* const out = outs[thread];               // [dim][32]
    Operand* const converted = panels_as_operands[thread];
    float* const floats = f32_rows[thread];
    Operand* const line = lines[thread];
    std::fill_n(q, shape.dim * kPanelWidth, Operand{});
    std::fill_n(out, shape.width * kPanelWidth, 0.0f);
    std::fill_n(line, shape.dim, Operand{});  // padding
    alignas(64) float tile[8 * kPanelWidth];
    alignas(64) float top[kPanelWidth], total[kPanelWidth] = {}, shrink[kPanelWidth];
    alignas(64) std::int32_t seen[kPanelWidth];
    std::fill(top, top + kPanelWidth, -std::numeric_limits<float>::infinity());

    for (Index c = 0; c < columns; ++c) {
      detail::prefetch(rows.query(head, first + std::min(c + detail::kRowsAhead, columns - 1)), dh);
      rows.read_query(*kernels_, line, floats, head, first + c);
      detail::spread<kPair>(q + c * kPair, kPanelWidth, line, shape.dim);
    }

    const HeadPanels<P> panels(heads, kv, head);
    // A panel of `lines` lines of 32 elements; 8 bits with factors of its columns or lines.
    const auto operand = [&](const P* panel, const float* of_columns, const float* of_lines,
                             Index num_lines) -> const Operand* {
      if constexpr (std::is_same_v<P, Operand>) return panel;
      if constexpr (std::is_same_v<P, std::int8_t>)
        detail::widen(*kernels_, converted, panel, of_columns, of_lines, num_lines);
      else if constexpr (!std::is_same_v<P, Operand>)
        kernels_->unpack_bf16_panel(converted, panel, num_lines / 2);
      return converted;
    };
    const Index reach = rows.visible(first + columns - 1);
    for (Index begin = 0; begin < reach; begin += kBlock) {
      const Index n = std::min(kBlock, (reach - begin + tile_rows - 1) / tile_rows * tile_rows);
      for (Index p = 0; p < n; p += kPanelWidth) {
        const Operand* keys =
            operand(panels.keys(begin + p), panels.key_scales(begin + p), nullptr, shape.dim);
        for (Index r = 0; r < std::min(kPanelWidth, n - p); r += tile_rows)
          detail::tile_product(*kernels_, tile_rows, keys + r * kPair, kPanelWidth, q, shape.dim,
                               scores + (p + r) * kPanelWidth);
      }
      for (Index c = 0; c < kPanelWidth; ++c) {
        const Index visible = rows.visible(first + std::min(c, columns - 1));
        seen[c] = static_cast<std::int32_t>(std::clamp<Index>(visible - begin, 0, n));
      }
      const SoftmaxColumns block{n, scores, seen, top, total, shrink};
      if constexpr (std::is_same_v<Operand, bf16>)
        kernels_->softmax_columns_bf16(block, weights);
      else
        kernels_->softmax_columns_f32(block, weights);
      for (Index d = 0; d < dh; d += kPanelWidth) {
        const Operand* values =
            operand(panels.values(begin, d), nullptr, panels.value_scales(begin), n);
        for (Index r = 0; r < std::min(kPanelWidth, dh - d); r += tile_rows) {
          detail::tile_product(*kernels_, tile_rows, values + r * kPair, kPanelWidth, weights, n,
                               tile);
          kernels_->scale_add_columns(out + (d + r) * kPanelWidth, shrink, tile, tile_rows);
        }
      }
    }
    for (Index c = 0; c < columns; ++c) {
      const float inverse = 1.0f / total[c];
      for (Index d = 0; d < dh; ++d) floats[d] = out[d * kPanelWidth + c] * inverse;
      detail::from_floats(*kernels_, rows.result(head, first + c), floats, dh);
    }
  });
}

template <class T, class P, class Operand>
void Backend::attend_as(const Rows<T>& rows, const Panels& kv) {
  constexpr Index kMany = kPanelWidth / 2;  // half of the columns are in use
  using Few = std::conditional_t<std::is_same_v<P, std::int8_t>, float, Operand>;
  const Index count = rows.queries(), rest = count % kPanelWidth;
  const Index many = rest < kMany ? count - rest : count;
  if (many > 0) attend_many<T, P, Operand>(rows, kv, many);
  if (many < count) attend_few<T, P, Few>(rows, kv, many);
}

PLLAVA_INLINE void Backend::attend(View o, ConstView qkv, const Attention& attention) {
  const Index count = qkv.rows() / attention.sequence.batch;
  const auto run = [&]<class T, class Left>(T, Left) {
    const auto& [heads, rope, kv, seq, mask] = attention;
    if (kv != nullptr) {
      const Panels panels{kv->capacity, kv->keys.get(), kv->values.get(),
                          static_cast<float*>(kv->scales.get())};
      const Rows<T> rows{o, qkv, heads, rope, mask, *seq.past.as<std::int32_t>(), count, 0};
      if (panels.scales != nullptr) {
        append<T, std::int8_t>(rows, panels);
        attend_as<T, std::int8_t, Left>(rows, panels);
      } else {
        append<T, T>(rows, panels);
        attend_as<T, T, Left>(rows, panels);
      }
      return;
    }
    // One sequence at a time, in panels of scratch, as the products want them. What lies behind its
    // rows is read with weight zero, so it must be finite.
    auto scope = this->scope();
    constexpr DType kOperand = std::is_same_v<Left, bf16> ? DType::bf16 : DType::f32;
    const detail::KvShape shape(heads.head_dim, detail::kGroupOf<Left>);
    const Index capacity = (count + kPanelWidth - 1) / kPanelWidth * kPanelWidth;
    const View keys = scratch({heads.num_kv_heads * shape.keys_size(capacity)}, kOperand);
    const View values = scratch({heads.num_kv_heads * shape.values_size(capacity)}, kOperand);
    std::memset(keys.data, 0, static_cast<std::size_t>(keys.bytes()));
    std::memset(values.data, 0, static_cast<std::size_t>(values.bytes()));
    const Panels panels{capacity, keys.data, values.data, nullptr};
    for (Index b = 0; b < seq.batch; ++b) {
      const Rows<T> rows{o, qkv, heads, rope, mask, 0, count, b};
      append<T, Left>(rows, panels);
      attend_as<T, Left, Left>(rows, panels);
    }
  };
  if (dtype_ == DType::f32)
    run(float{}, float{});
  else if (kernels_->bf16_lhs_dtype == DType::bf16)
    run(bf16{}, bf16{});
  else
    run(bf16{}, float{});
}

}  // namespace pllava::cpu
