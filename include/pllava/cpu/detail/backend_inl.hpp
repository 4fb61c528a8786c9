// CPU backend: packing of weights, matrix products with fused epilogues, row-wise verbs.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "pllava/cpu/backend.hpp"
#include "pllava/cpu/detail/per_thread.hpp"

namespace pllava::cpu {

PLLAVA_INLINE Backend::Backend(const BackendOptions& options)
    : Backend(options, std::make_shared<ThreadPool>(options.threads)) {}

PLLAVA_INLINE Backend::Backend(const BackendOptions& options, std::shared_ptr<ThreadPool> pool)
    : options_(options),
      dtype_(options.dtype.value_or(DType::f32)),
      kernels_(&kernels(detect_isa(options.isa))),
      pool_(std::move(pool)) {
  if (dtype_ != DType::f32 && dtype_ != DType::bf16)
    throw ArgumentError("the CPU backend computes in f32 or bf16, not in " +
                        std::string(name_of(dtype_)));
}

PLLAVA_INLINE Backend Backend::fork() const {
  return Backend(options_, pool_);
}

PLLAVA_INLINE void Backend::copy(void* dst, const void* src, Index bytes) {
  if (bytes > 0) std::memcpy(dst, src, static_cast<std::size_t>(bytes));
}

PLLAVA_INLINE void Backend::read_row(float* dst, ConstView x, Index row) const {
  const Index d = x.cols();
  if (x.dtype == DType::bf16)
    kernels_->bf16_to_float(dst, x.as<bf16>() + row * d, d);
  else
    copy(dst, x.as<float>() + row * d, d * 4);
}

PLLAVA_INLINE void Backend::write_row(View y, Index row, const float* src) const {
  const Index d = y.cols();
  if (y.dtype == DType::bf16)
    kernels_->float_to_bf16(y.as<bf16>() + row * d, src, d);
  else
    copy(y.as<float>() + row * d, src, d * 4);
}

// ---- weights ------------------------------------------------------------------------------------

namespace detail {

/// Row `r` of a 2-D host tensor, converted to `dtype` (f32 or bf16).
PLLAVA_INLINE void host_row(void* dst, DType dtype, const HostTensor& t, Index r, Index cols) {
  if (t.dtype == dtype) {
    std::memcpy(dst, t.data + r * cols * size_of(dtype),
                static_cast<std::size_t>(cols * size_of(dtype)));
    return;
  }
  for (Index i = 0; i < cols; ++i)
    store_float(dst, dtype, i, load_float(t.data, t.dtype, r * cols + i));
}

/// dst (depth, 32) = src (32, depth) transposed, for words of 4 bytes.
PLLAVA_INLINE void transpose_panel(std::byte* dst, const std::byte* src, Index depth) {
  constexpr Index kLine = 16;  // words of a cache line: both sides move in whole lines
  for (Index begin = 0; begin < depth; begin += kLine)
    for (Index n = 0; n < kPanelWidth; ++n)
      for (Index k = begin; k < std::min(depth, begin + kLine); ++k)
        std::memcpy(dst + (k * kPanelWidth + n) * 4, src + (n * depth + k) * 4, 4);
}

}  // namespace detail

/// Memory that `fill` fills, or a file of packed weights.
template <class Fill>
std::shared_ptr<void> Backend::weight_memory(Index bytes, const char* what_for, const Fill& fill) {
  std::shared_ptr<void> memory = aligned_memory(bytes, what_for);
  PackedWeights* const packed = options_.packed.get();
  if (packed != nullptr && packed->reads()) {
    packed->read(memory.get(), bytes, *pool_);
    return memory;
  }
  fill(static_cast<std::byte*>(memory.get()));
  if (packed != nullptr && packed->writes()) packed->write(memory.get(), bytes);
  return memory;
}

PLLAVA_INLINE Weight Backend::prepare(std::span<const HostTensor> parts, WeightRole role) {
  if (options_.packed != nullptr) options_.packed->begin_weight(packed_key(parts, role, dtype_));
  Weight w;
  if (role == WeightRole::vector) {  // concatenated, f32
    for (const HostTensor& p : parts) w.cols += p.shape.count();
    w.rows = 1;
    w.data = weight_memory(w.cols * 4, "a weight", [&](std::byte* out) {
      for (const HostTensor& p : parts)
        for (Index i = 0; i < p.shape.count(); ++i, out += 4) {
          const float value = load_float(p.data, p.dtype, i);
          std::memcpy(out, &value, 4);
        }
    });
    return w;
  }
  w.dtype = dtype_;
  w.cols = parts[0].shape[1];
  for (const HostTensor& p : parts) w.rows += p.shape[0];
  const Index K = w.cols;
  if (role == WeightRole::table) {
    const Index row_bytes = K * size_of(w.dtype);
    w.data = weight_memory(w.rows * row_bytes, "an embedding table", [&](std::byte* rows) {
      pool_->run(w.rows,
                 [&](Index r) { detail::host_row(rows + r * row_bytes, w.dtype, parts[0], r, K); });
    });
    return w;
  }
  // Panels of 32 output columns. A gate_up panel is 16 gate and 16 up columns, so that one tile
  // holds both factors of 16 outputs.
  const Index F = w.rows / 2;
  const Index panels = role == WeightRole::gate_up ? (F + kPanelWidth / 2 - 1) / (kPanelWidth / 2)
                                                   : (w.rows + kPanelWidth - 1) / kPanelWidth;
  const auto locate = [&](Index panel, Index column) -> std::pair<const HostTensor*, Index> {
    if (role == WeightRole::gate_up) {
      const Index row = panel * (kPanelWidth / 2) + column % (kPanelWidth / 2);
      return {row < F ? &parts[column < kPanelWidth / 2 ? 0 : 1] : nullptr, row};
    }
    Index row = panel * kPanelWidth + column;
    for (const HostTensor& p : parts) {
      if (row < p.shape[0]) return {&p, row};
      row -= p.shape[0];
    }
    return {nullptr, 0};
  };
  w.quantization = quantization_for(parts, role);
  if (w.quantization.format == WeightFormat::fp8)
    throw ArgumentError("fp8 weights are for CUDA; the CPU multiplies int8 and int4");
  if (w.quantization.format != WeightFormat::unquantized)
    return prepare_integers(std::move(w), panels, locate);
  const bool pairs = w.dtype == DType::bf16;
  const Index depth = pairs ? (K + 1) / 2 * 2 : K;
  const Index words = depth * size_of(w.dtype) / 4;  // of a row: a float or a pair of bf16 each
  const Index bytes = kPanelWidth * words * 4;       // of a panel
  w.data = weight_memory(panels * bytes, "a weight matrix", [&](std::byte* memory) {
    pool_->run(panels, [&](Index panel) {
      std::vector<std::byte> rows(static_cast<std::size_t>(bytes));  // zero: padding
      for (Index n = 0; n < kPanelWidth; ++n) {
        const auto [part, r] = locate(panel, n);
        if (part != nullptr)
          detail::host_row(&rows[static_cast<std::size_t>(n * words * 4)], w.dtype, *part, r, K);
      }
      detail::transpose_panel(memory + panel * bytes, rows.data(), words);
    });
  });
  return w;
}

namespace detail {

/// Integers of a row, with the padding that kernels ask for.
PLLAVA_INLINE Index integer_depth(const Quantization& q, Index cols) {
  const Index step = q.format == WeightFormat::int4 ? q.group : 32;
  return (cols + step - 1) / step * step;
}

/// Bytes of a panel's values, and of one kind of its factors (multipliers, zeros).
PLLAVA_INLINE Index panel_bytes(const Quantization& q, Index depth) {
  return kPanelWidth * depth / (q.format == WeightFormat::int4 ? 2 : 1);
}
PLLAVA_INLINE Index factor_bytes(const Quantization& q, Index depth) {
  return q.format == WeightFormat::int4 ? kPanelWidth * depth / q.group : 0;
}

/// The bytes of one column of a panel, see QuantizedPanel.
PLLAVA_INLINE void pack_integers(std::byte* out, const Quantization& q, const QuantizedRow& row) {
  const auto at = [&](std::size_t k) -> unsigned {  // behind the end: nothing
    if (k < row.values.size()) return row.values[k];
    if (q.format == WeightFormat::int8) return 128;
    return row.zero_points.empty() ? kSymmetricZeroPoint
                                   : row.zero_points[k / static_cast<std::size_t>(q.group)];
  };
  const auto depth =
      static_cast<std::size_t>(integer_depth(q, static_cast<Index>(row.values.size())));
  if (q.format == WeightFormat::int8) {
    for (std::size_t k = 0; k < depth; ++k) out[k] = static_cast<std::byte>(at(k));
    return;
  }
  for (std::size_t k = 0; k < depth; k += 8)
    for (std::size_t j = 0; j < 4; ++j)
      out[k / 2 + j] = static_cast<std::byte>(at(k + j) | (at(k + 4 + j) << 4));
}

}  // namespace detail

/// Rounds every row and lays the integers out as panels; behind them in the same memory are the
/// factors of all panels: scales (panel, 32) f32, then multipliers and, where there are any, zeros
/// (panel, group, 32).
template <class Locate>
Weight Backend::prepare_integers(Weight w, Index panels, const Locate& locate) {
  const Quantization& q = w.quantization;
  require_valid(q);
  constexpr Index kMostCols = 65'536;  // sums of more products may not fit 32 bits
  if (w.cols > kMostCols)
    throw ArgumentError("a matrix of " + std::to_string(w.cols) +
                        " input channels is too wide for integers; at most " +
                        std::to_string(kMostCols));
  const Index depth = detail::integer_depth(q, w.cols), bytes = detail::panel_bytes(q, depth);
  const Index kinds = q.zero_points ? 2 : 1, each = detail::factor_bytes(q, depth);
  const Index values_bytes = panels * bytes;  // a multiple of 64, as panels are
  w.data = weight_memory(
      values_bytes + panels * (kPanelWidth * 4 + kinds * each), "a weight matrix",
      [&](std::byte* memory) {
        auto* scales = reinterpret_cast<float*>(memory + values_bytes);
        auto* multipliers = reinterpret_cast<std::uint8_t*>(scales + panels * kPanelWidth);
        pool_->run(panels, [&](Index panel) {
          std::vector<std::byte> columns(static_cast<std::size_t>(bytes));
          const std::vector<float> zeros(static_cast<std::size_t>(w.cols));
          for (Index n = 0; n < kPanelWidth; ++n) {
            const auto [part, r] = locate(panel, n);
            const QuantizedRow row = part != nullptr ? quantized_row(*part, r) : quantize(zeros, q);
            detail::pack_integers(&columns[static_cast<std::size_t>(n * bytes / kPanelWidth)], q,
                                  row);
            scales[panel * kPanelWidth + n] = row.channel_scale;
            for (std::size_t g = 0; g < row.group_scales.size(); ++g) {
              const Index at = panel * each + static_cast<Index>(g) * kPanelWidth + n;
              multipliers[at] = row.group_scales[g];
              if (q.zero_points) multipliers[panels * each + at] = row.zero_points[g];
            }
          }
          detail::transpose_panel(memory + panel * bytes, columns.data(), bytes / kPanelWidth / 4);
        });
      });
  w.factors = {w.data, static_cast<const std::byte*>(w.data.get()) + values_bytes};
  return w;
}

PLLAVA_INLINE QuantizedPanel Backend::integer_panel(const Weight& w, Index panels, Index panel) {
  const Quantization& q = w.quantization;
  const Index depth = detail::integer_depth(q, w.cols), each = detail::factor_bytes(q, depth);
  const auto* scales = reinterpret_cast<const float*>(w.factors.get());
  const auto* multipliers = reinterpret_cast<const std::uint8_t*>(scales + panels * kPanelWidth);
  return {static_cast<const std::uint8_t*>(w.data.get()) + panel * detail::panel_bytes(q, depth),
          multipliers + panel * each,
          q.zero_points ? multipliers + panels * each + panel * each : nullptr,
          scales + panel * kPanelWidth};
}

// ---- products -----------------------------------------------------------------------------------

struct Backend::Packed {
  /// Rows that a tile of `rows` is packed to. One or two rows are summed in another order, which
  /// only products of no more rows may use: a row's result does not depend on how many are beside
  /// it.
  Index packed_rows(Index rows) const {
    return kernels->padded_rows(single ? rows : std::max<Index>(rows, 3));
  }

  const Kernels* kernels;
  bool single;      // one or two rows in all
  Index tile_rows;  // rows of a full tile
  Index tiles;
  Index stride;  // bytes from one tile to the next
  const std::byte* data;
};

/// Rows of x as left operands of tiles over a matrix of `dtype`, zero-padded: [k][row] in f32 or
/// [k/2][row][2] in bf16.
PLLAVA_INLINE Backend::Packed Backend::pack(ConstView x, DType dtype) {
  const Index M = x.rows(), K = x.cols(), depth = dtype == DType::bf16 ? (K + 1) / 2 * 2 : K;
  const DType left = dtype == DType::bf16 ? kernels_->bf16_lhs_dtype : dtype;
  const Index tile_rows = std::min(kernels_->max_tile_rows, kernels_->padded_rows(M));
  Packed packed{kernels_,
                M <= 2,
                tile_rows,
                (M + tile_rows - 1) / tile_rows,
                tile_rows * depth * size_of(left),
                nullptr};
  auto* out = static_cast<std::byte*>(arena_->allocate(packed.tiles * packed.stride));
  packed.data = out;
  // A row of x converted to the type of the left operand.
  const detail::PerThread<bf16> bf16_rows(*arena_, *pool_, left == DType::bf16 ? K : 0);
  const detail::PerThread<float> f32_rows(*arena_, *pool_, left == DType::bf16 ? 0 : depth);
  pool_->run(packed.tiles, [&](Index t, Index thread) {
    std::byte* tile = out + t * packed.stride;
    const Index rows = std::min(tile_rows, M - t * tile_rows);
    const Index mr = packed.packed_rows(rows);
    if (left == DType::bf16) {
      auto* dst = reinterpret_cast<std::uint32_t*>(tile);  // pairs
      bf16* const converted = bf16_rows[thread];
      for (Index r = 0; r < mr; ++r) {
        if (r >= rows) {
          for (Index k = 0; k < depth / 2; ++k) dst[k * mr + r] = 0;
          continue;
        }
        const bf16* src = x.as<bf16>() + (t * tile_rows + r) * K;
        if (x.dtype == DType::f32) {
          kernels_->float_to_bf16(converted, x.as<float>() + (t * tile_rows + r) * K, K);
          src = converted;
        }
        for (Index k = 0; k < K / 2; ++k) std::memcpy(&dst[k * mr + r], src + 2 * k, 4);
        if (K % 2 != 0) dst[K / 2 * mr + r] = src[K - 1].bits;
      }
    } else {
      auto* dst = reinterpret_cast<float*>(tile);
      float* const row = f32_rows[thread];
      std::fill(row + K, row + depth, 0.0f);  // padding
      for (Index r = 0; r < mr; ++r) {
        if (r < rows) read_row(row, x, t * tile_rows + r);
        for (Index k = 0; k < depth; ++k) dst[k * mr + r] = r < rows ? row[k] : 0.0f;
      }
    }
  });
  return packed;
}

/// Computes x · Wᵀ tile by tile; epilogue(first row, rows, panel, tile of 32 columns) takes it from
/// there. A task is two panels over all rows: they stay in the second-level cache while the tiles
/// of x stream by, and each tile is read once for both.
template <class Epilogue>
void Backend::multiply(ConstView x, const Weight& w, const Epilogue& epilogue) {
  if (w.quantization.format != WeightFormat::unquantized) return multiply_integers(x, w, epilogue);
  auto scope = this->scope();
  const Packed a = pack(x, w.dtype);
  const Index M = x.rows(), K = w.cols;
  const bool pairs = w.dtype == DType::bf16;
  const Index depth = pairs ? (K + 1) / 2 * 2 : K;
  const Index panels = w.rows;  // set by the callers to the number of panels
  const Index per_task = 2;
  pool_->run((panels + per_task - 1) / per_task, [&](Index task) {
    alignas(64) float tile[kMaxTileRows * kPanelWidth];
    for (Index t = 0; t < a.tiles; ++t) {
      const Index rows = std::min(a.tile_rows, M - t * a.tile_rows);
      const Index mr = a.packed_rows(rows);
      const std::byte* left = a.data + t * a.stride;
      for (Index p = task * per_task; p < std::min(panels, (task + 1) * per_task); ++p) {
        if (pairs)
          kernels_->tile_bf16(mr, left, mr,
                              static_cast<const bf16*>(w.data.get()) + p * kPanelWidth * depth,
                              depth / 2, tile);
        else
          kernels_->tile_f32(mr, reinterpret_cast<const float*>(left), mr,
                             static_cast<const float*>(w.data.get()) + p * kPanelWidth * depth,
                             depth, tile);
        epilogue(t * a.tile_rows, rows, p, tile);
      }
    }
  });
}

struct Backend::Rounded {
  Int8Lhs tile(Index t) const {
    return {values + t * tile_rows * depth * bytes, sums + t * tile_rows * (depth / 32 + 1),
            scales + t * tile_rows};
  }

  Index tile_rows;  // rows of a full tile
  Index tiles;
  Index depth;
  Index bytes;        // of an integer
  std::byte* values;  // per tile, as in Int8Lhs
  std::int32_t* sums;
  float* scales;
};

namespace detail {

/// Puts row r of `rows` into the left operand of a tile, in integers of `bytes`: see tile_int8.
PLLAVA_INLINE void place_integers(std::byte* tile, Index bytes, std::span<const std::int8_t> row,
                                  Index r, Index rows) {
  if (bytes == 1) {
    for (std::size_t k = 0; k < row.size(); k += 4, tile += rows * 4)
      std::memcpy(tile + r * 4, &row[k], 4);
    return;
  }
  for (std::size_t k = 0; k < row.size(); k += 4, tile += rows * 8)
    for (const std::size_t odd : {0u, 1u}) {
      const std::int16_t pair[] = {row[k + odd], row[k + odd + 2]};
      std::memcpy(tile + (static_cast<Index>(odd) * rows + r) * 4, pair, 4);
    }
}

}  // namespace detail

/// Rows of x rounded to 8 bits, in tiles of at most `most_rows`, of integers of `bytes`.
PLLAVA_INLINE Backend::Rounded Backend::round(ConstView x, Index depth, Index most_rows,
                                              Index bytes) {
  const Index M = x.rows(), K = x.cols(), blocks = depth / 32;
  const Index tile_rows = std::min(most_rows, kernels_->padded_rows(M));
  const Index tiles = (M + tile_rows - 1) / tile_rows, padded = tiles * tile_rows;
  Rounded rounded{tile_rows,
                  tiles,
                  depth,
                  bytes,
                  static_cast<std::byte*>(arena_->allocate(padded * depth * bytes)),
                  static_cast<std::int32_t*>(arena_->allocate(padded * (blocks + 1) * 4)),
                  static_cast<float*>(arena_->allocate(padded * 4))};
  const detail::PerThread<float> f32_rows(*arena_, *pool_, K);
  const detail::PerThread<std::int8_t> int8_rows(*arena_, *pool_, depth);
  pool_->run(tiles, [&](Index t, Index thread) {
    const Index rows = std::min(tile_rows, M - t * tile_rows), mr = kernels_->padded_rows(rows);
    std::byte* tile = rounded.values + t * tile_rows * depth * bytes;
    std::int32_t* sums = rounded.sums + t * tile_rows * (blocks + 1);
    float* const row = f32_rows[thread];
    const std::span<std::int8_t> integers(int8_rows[thread], static_cast<std::size_t>(depth));
    std::ranges::fill(integers.subspan(static_cast<std::size_t>(K)), std::int8_t{0});  // padding
    for (Index r = 0; r < mr; ++r) {
      if (r < rows) {
        read_row(row, x, t * tile_rows + r);
        rounded.scales[t * tile_rows + r] = kernels_->quantize_row(integers.data(), row, K);
      } else {
        std::ranges::fill(integers, std::int8_t{0});
        rounded.scales[t * tile_rows + r] = 0;
      }
      detail::place_integers(tile, bytes, integers, r, mr);
      std::int32_t all = 0;
      for (Index b = 0; b < blocks; ++b) {
        std::int32_t low = 0, high = 0;
        const std::int8_t* quad = &integers[static_cast<std::size_t>(b * 32)];
        for (int i = 0; i < 8; ++i, quad += 4) low += quad[0] + quad[1], high += quad[2] + quad[3];
        sums[b * mr + r] = (low & 0xffff) | high * 0x10000;
        all += low + high;
      }
      sums[blocks * mr + r] = all;
    }
  });
  return rounded;
}

/// `multiply` for integers. Few rows read int4 as it is; for more, each panel is unpacked once,
/// unless nibbles multiply faster than bytes.
template <class Epilogue>
void Backend::multiply_integers(ConstView x, const Weight& w, const Epilogue& epilogue) {
  auto scope = this->scope();
  const Index depth = detail::integer_depth(w.quantization, w.cols), quads = depth / 4;
  const Index M = x.rows(), panels = w.rows, group = w.quantization.group;
  const bool nibbles = w.quantization.format == WeightFormat::int4;
  const bool unpack =
      nibbles && !kernels_->prefers_int4_tiles && kernels_->padded_rows(M) > kMaxInt4TileRows;
  const Rounded a = nibbles && !unpack
                        ? round(x, depth, kMaxInt4TileRows, 1)
                        : round(x, depth, kernels_->max_tile_rows, kernels_->int8_lhs_bytes);
  const Index per_task = 2;
  const Index panel_values = kPanelWidth * depth;
  const detail::PerThread<std::uint8_t> unpacked_panels(*arena_, *pool_,
                                                        unpack ? per_task * panel_values : 0);
  pool_->run((panels + per_task - 1) / per_task, [&](Index task, Index thread) {
    alignas(64) float tile[kMaxTileRows * kPanelWidth];
    const Index first = task * per_task, end = std::min(panels, first + per_task);
    std::uint8_t* const unpacked = unpacked_panels[thread];
    if (unpack)
      for (Index p = first; p < end; ++p)
        kernels_->unpack_int4(unpacked + (p - first) * panel_values, integer_panel(w, panels, p),
                              quads, group);
    for (Index t = 0; t < a.tiles; ++t) {
      const Index rows = std::min(a.tile_rows, M - t * a.tile_rows);
      const Index mr = kernels_->padded_rows(rows);
      const Int8Lhs left = a.tile(t);
      for (Index p = first; p < end; ++p) {
        QuantizedPanel right = integer_panel(w, panels, p);
        if (unpack) right.values = unpacked + (p - first) * panel_values;
        if (nibbles && !unpack)
          kernels_->tile_int4(mr, left, right, quads, group, tile);
        else
          kernels_->tile_int8(mr, left, right, quads, tile);
        epilogue(t * a.tile_rows, rows, p, tile);
      }
    }
  });
}

namespace detail {

/// The weight as `multiply` wants it: rows replaced by the number of panels.
PLLAVA_INLINE Weight as_panels(const Weight& w, Index columns_per_panel, Index columns) {
  Weight v = w;
  v.rows = (columns + columns_per_panel - 1) / columns_per_panel;
  return v;
}

}  // namespace detail

PLLAVA_INLINE void Backend::linear(View y, ConstView x, const Linear& w, Activation act) {
  const Index O = w.out;
  const float* bias = w.bias ? w.bias.floats() : nullptr;
  multiply(x, detail::as_panels(w.weight, kPanelWidth, O),
           [&](Index row, Index rows, Index panel, float* tile) {
             const Index first = panel * kPanelWidth, n = std::min(kPanelWidth, O - first);
             for (Index r = 0; r < rows; ++r) {
               float* line = tile + r * kPanelWidth;
               if (bias != nullptr) kernels_->add(line, bias + first, n);
               kernels_->activate(line, n, act);
               if (y.dtype == DType::bf16)
                 kernels_->float_to_bf16(y.as<bf16>() + (row + r) * O + first, line, n);
               else
                 copy(y.as<float>() + (row + r) * O + first, line, n * 4);
             }
           });
}

PLLAVA_INLINE void Backend::residual(View x, ConstView y, const Linear& w) {
  const Index O = w.out;
  const float* bias = w.bias ? w.bias.floats() : nullptr;
  multiply(y, detail::as_panels(w.weight, kPanelWidth, O),
           [&](Index row, Index rows, Index panel, float* tile) {
             const Index first = panel * kPanelWidth, n = std::min(kPanelWidth, O - first);
             for (Index r = 0; r < rows; ++r) {
               float* line = tile + r * kPanelWidth;
               if (bias != nullptr) kernels_->add(line, bias + first, n);
               kernels_->add(x.as<float>() + (row + r) * O + first, line, n);
             }
           });
}

PLLAVA_INLINE void Backend::glu(View g, ConstView h, const Linear& gate_up, Activation act) {
  const Index F = gate_up.out, half = kPanelWidth / 2;
  multiply(h, detail::as_panels(gate_up.weight, half, F),
           [&](Index row, Index rows, Index panel, float* tile) {
             const Index first = panel * half, n = std::min(half, F - first);
             for (Index r = 0; r < rows; ++r) {
               float* line = tile + r * kPanelWidth;
               kernels_->act_mul(line, line + half, n, act);
               if (g.dtype == DType::bf16)
                 kernels_->float_to_bf16(g.as<bf16>() + (row + r) * F + first, line, n);
               else
                 copy(g.as<float>() + (row + r) * F + first, line, n * 4);
             }
           });
}

// ---- rows ---------------------------------------------------------------------------------------

PLLAVA_INLINE void Backend::norm(View y, ConstView x, const Norm& n) {
  const Index D = x.cols(), block = 16;
  auto scope = this->scope();
  const detail::PerThread<float> rows(*arena_, *pool_, D);
  pool_->run((x.rows() + block - 1) / block, [&](Index b, Index thread) {
    float* const out = rows[thread];
    for (Index r = b * block; r < std::min(x.rows(), (b + 1) * block); ++r) {
      kernels_->norm(out, x.as<float>() + r * D, n.gain.floats(),
                     n.bias ? n.bias.floats() : nullptr, n.eps, D, n.kind == NormKind::rms);
      write_row(y, r, out);
    }
  });
}

PLLAVA_INLINE void Backend::embed(View x, ConstView ids, const Weight& table) {
  const ConstView rows{table.data.get(), table.dtype, {table.rows, table.cols}};
  for (Index n = 0; n < x.rows(); ++n)
    read_row(x.as<float>() + n * x.cols(), rows, ids.as<std::int32_t>()[n]);
}

PLLAVA_INLINE void Backend::preprocess(View pixels, std::span<const Frame> frames,
                                       const PreprocessConfig& config) {
  pllava::preprocess(frames, pixels.as<float>(), config,
                     [this](Index n, const auto& job) { pool_->run(n, job); });
}

PLLAVA_INLINE void Backend::patchify(View y, ConstView pixels, Index patch) {
  const Index S = pixels.shape[2], side = S / patch, width = 3 * patch * patch;
  auto scope = this->scope();
  const detail::PerThread<float> lines(*arena_, *pool_, width);
  pool_->run(y.rows(), [&](Index row, Index thread) {
    const Index t = row / (side * side), py = row / side % side, px = row % side;
    float* const line = lines[thread];
    float* out = line;
    for (Index c = 0; c < 3; ++c)
      for (Index i = 0; i < patch; ++i, out += patch)
        copy(out, pixels.as<float>() + ((t * 3 + c) * S + py * patch + i) * S + px * patch,
             patch * 4);
    write_row(y, row, line);
  });
}

PLLAVA_INLINE void Backend::add_positions(View x, ConstView patches, const Weight& cls,
                                          const Weight& positions, Index per_frame) {
  const Index D = x.cols();
  pool_->run(x.rows() / (per_frame + 1), [&](Index t) {
    for (Index p = 0; p <= per_frame; ++p) {
      float* row = x.as<float>() + (t * (per_frame + 1) + p) * D;
      if (p == 0)
        copy(row, cls.floats(), D * 4);
      else
        read_row(row, patches, t * per_frame + p - 1);
      kernels_->add(row, positions.floats() + p * D, D);
    }
  });
}

PLLAVA_INLINE void Backend::select_patches(View y, ConstView x, Index per_frame) {
  for (Index r = 0; r < y.rows(); ++r)
    write_row(y, r, x.as<float>() + (r + r / per_frame + 1) * x.cols());
}

PLLAVA_INLINE void Backend::pool3d(View y, ConstView x, const Grid& in, const Grid& out,
                                   PoolKind kind) {
  const Index D = x.cols();
  const auto begin = [](Index i, Index n, Index m) { return i * n / m; };
  const auto end = [](Index i, Index n, Index m) { return ((i + 1) * n + m - 1) / m; };
  auto scope = this->scope();
  const detail::PerThread<float> totals(*arena_, *pool_, D), lines(*arena_, *pool_, D);
  pool_->run(out.count(), [&](Index row, Index thread) {
    const Index i = row / (out.h * out.w), j = row / out.w % out.h, k = row % out.w;
    float *const total = totals[thread], *const line = lines[thread];
    Index count = 0;
    for (Index t = begin(i, in.t, out.t); t < end(i, in.t, out.t); ++t)
      for (Index h = begin(j, in.h, out.h); h < end(j, in.h, out.h); ++h)
        for (Index w = begin(k, in.w, out.w); w < end(k, in.w, out.w); ++w, ++count) {
          read_row(count == 0 ? total : line, x, (t * in.h + h) * in.w + w);
          if (count == 0) continue;
          if (kind == PoolKind::average)
            kernels_->add(total, line, D);
          else
            for (Index d = 0; d < D; ++d) total[d] = std::max(total[d], line[d]);
        }
    if (kind == PoolKind::average)
      for (Index d = 0; d < D; ++d) total[d] /= static_cast<float>(count);
    write_row(y, row, total);
  });
}

}  // namespace pllava::cpu
