// Packing of weights into the layouts that the kernels read.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "pllava/core/quantization.hpp"
#include "pllava/cpu/backend.hpp"
#include "pllava/cpu/detail/execution_context.hpp"
#include "pllava/cpu/detail/quantized_panels.hpp"

namespace pllava::cpu {

namespace detail {

/// Row `r` of a 2-D host tensor, converted to `dtype` (f32 or bf16).
PLLAVA_INLINE void load_host_row(void* dst, DType dtype, const HostTensor& t, Index r, Index cols) {
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
  constexpr Index kLineWords = 16;  // words of a cache line; reads and writes use whole lines
  for (Index begin = 0; begin < depth; begin += kLineWords)
    for (Index n = 0; n < kPanelWidth; ++n)
      for (Index k = begin; k < std::min(depth, begin + kLineWords); ++k)
        std::memcpy(dst + (k * kPanelWidth + n) * 4, src + (n * depth + k) * 4, 4);
}

/// The columns of the panels of a matrix: rows of the stacked tensors. A panel for `glu` has 16
/// gate columns and 16 up columns, so that one tile holds both operands of 16 outputs.
class PanelColumns {
 public:
  PanelColumns(std::span<const HostTensor> parts, WeightRole role)
      : parts_(parts), gate_up_(role == WeightRole::gate_up) {
    for (const HostTensor& p : parts) rows_ += p.shape[0];
  }

  Index rows() const { return rows_; }
  Index cols() const { return parts_[0].shape[1]; }
  Index num_panels() const {
    return gate_up_ ? ceil_div(rows_ / 2, kPanelWidth / 2) : ceil_div(rows_, kPanelWidth);
  }
  /// The tensor and its row in a column; null for padding.
  std::pair<const HostTensor*, Index> locate(Index panel, Index column) const {
    constexpr Index kHalf = kPanelWidth / 2;
    if (gate_up_) {
      const Index row = panel * kHalf + column % kHalf;
      return {row < rows_ / 2 ? &parts_[column < kHalf ? 0 : 1] : nullptr, row};
    }
    Index row = panel * kPanelWidth + column;
    for (const HostTensor& p : parts_) {
      if (row < p.shape[0]) return {&p, row};
      row -= p.shape[0];
    }
    return {nullptr, 0};
  }

 private:
  std::span<const HostTensor> parts_;
  bool gate_up_;
  Index rows_ = 0;
};

/// The bytes of one column of a panel, see QuantizedPanel.
PLLAVA_INLINE void pack_quantized_column(std::byte* out, const Quantization& q,
                                         const QuantizedRow& row, Index padded_depth) {
  const auto at = [&](std::size_t k) -> unsigned {  // padding: the zero point
    if (k < row.values.size()) return row.values[k];
    if (q.format == WeightFormat::int8) return 128;
    return row.zero_points.empty() ? kSymmetricZeroPoint
                                   : row.zero_points[k / static_cast<std::size_t>(q.group)];
  };
  const auto depth = static_cast<std::size_t>(padded_depth);
  if (q.format == WeightFormat::int8) {
    for (std::size_t k = 0; k < depth; ++k) out[k] = static_cast<std::byte>(at(k));
    return;
  }
  for (std::size_t k = 0; k < depth; k += 8)
    for (std::size_t j = 0; j < 4; ++j)
      out[k / 2 + j] = static_cast<std::byte>(at(k + j) | (at(k + 4 + j) << 4));
}

}  // namespace detail

/// Memory of a weight: read from the file of packed weights, or written by `fill`.
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
  switch (role) {
    case WeightRole::vector: return prepare_vector(parts);
    case WeightRole::table: return prepare_table(parts[0]);
    default: break;
  }
  const Quantization q = quantization_for(parts, role);
  if (q.format == WeightFormat::fp8)
    throw ArgumentError("fp8 weights are for CUDA; the CPU multiplies int8 and int4");
  const detail::PanelColumns columns(parts, role);
  return q.format == WeightFormat::unquantized ? prepare_matrix(columns)
                                               : prepare_quantized(columns, q);
}

/// The parts one after the other, in f32.
PLLAVA_INLINE Weight Backend::prepare_vector(std::span<const HostTensor> parts) {
  Weight w;
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

PLLAVA_INLINE Weight Backend::prepare_table(const HostTensor& table) {
  Weight w{.dtype = dtype_, .rows = table.shape[0], .cols = table.shape[1], .data = nullptr};
  const Index row_bytes = w.cols * size_of(dtype_);
  w.data = weight_memory(w.rows * row_bytes, "an embedding table", [&](std::byte* rows) {
    pool_->run(w.rows, [&](Index r) {
      detail::load_host_row(rows + r * row_bytes, dtype_, table, r, w.cols);
    });
  });
  return w;
}

/// Panels of f32 or of bf16 pairs, see kPanelWidth.
PLLAVA_INLINE Weight Backend::prepare_matrix(const detail::PanelColumns& columns) {
  Weight w{.dtype = dtype_, .rows = columns.rows(), .cols = columns.cols(), .data = nullptr};
  const Index depth = dtype_ == DType::bf16 ? detail::round_up(w.cols, 2) : w.cols;
  const Index words = depth * size_of(dtype_) / 4;  // of a column: values in f32, pairs in bf16
  const Index panel_bytes = kPanelWidth * words * 4;
  w.data =
      weight_memory(columns.num_panels() * panel_bytes, "a weight matrix", [&](std::byte* memory) {
        pool_->run(columns.num_panels(), [&](Index panel) {
          std::vector<std::byte> rows(static_cast<std::size_t>(panel_bytes));  // zero: padding
          for (Index n = 0; n < kPanelWidth; ++n) {
            const auto [tensor, r] = columns.locate(panel, n);
            if (tensor != nullptr)
              detail::load_host_row(&rows[static_cast<std::size_t>(n * words * 4)], dtype_, *tensor,
                                    r, w.cols);
          }
          detail::transpose_panel(memory + panel * panel_bytes, rows.data(), words);
        });
      });
  return w;
}

/// Quantizes every row, see QuantizedPanelLayout.
PLLAVA_INLINE Weight Backend::prepare_quantized(const detail::PanelColumns& columns,
                                                const Quantization& q) {
  require_valid(q);
  constexpr Index kMaxCols = 65'536;  // sums of more products may overflow 32 bits
  Weight w{.dtype = dtype_,
           .rows = columns.rows(),
           .cols = columns.cols(),
           .data = nullptr,
           .quantization = q};
  if (w.cols > kMaxCols)
    throw ArgumentError("a matrix of " + std::to_string(w.cols) +
                        " input channels is too wide for integers; at most " +
                        std::to_string(kMaxCols));
  const detail::QuantizedPanelLayout layout(q, w.cols, columns.num_panels());
  w.data = weight_memory(layout.bytes(), "a weight matrix", [&](std::byte* memory) {
    pool_->run(columns.num_panels(), [&](Index panel) {
      std::vector<std::byte> values(static_cast<std::size_t>(layout.value_bytes));
      const std::vector<float> zeros(static_cast<std::size_t>(w.cols));
      const Index column_bytes = layout.value_bytes / kPanelWidth;
      for (Index n = 0; n < kPanelWidth; ++n) {
        const auto [tensor, r] = columns.locate(panel, n);
        const QuantizedRow row = tensor != nullptr ? quantized_row(*tensor, r) : quantize(zeros, q);
        detail::pack_quantized_column(&values[static_cast<std::size_t>(n * column_bytes)], q, row,
                                      layout.depth);
        layout.channel_scales(memory, panel)[n] = row.channel_scale;
        for (std::size_t g = 0; g < row.group_scales.size(); ++g) {
          const Index at = static_cast<Index>(g) * kPanelWidth + n;
          layout.group_scales(memory, panel)[at] = row.group_scales[g];
          if (q.zero_points) layout.zero_points(memory, panel)[at] = row.zero_points[g];
        }
      }
      detail::transpose_panel(memory + panel * layout.value_bytes, values.data(), column_bytes / 4);
    });
  });
  return w;
}

}  // namespace pllava::cpu
