// The layout of quantized matrices in memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "pllava/core/quantization.hpp"
#include "pllava/cpu/detail/execution_context.hpp"
#include "pllava/cpu/kernels.hpp"

namespace pllava::cpu::detail {

/// The panels of a quantized matrix: the values of all panels, then their channel scales
/// (panel, 32) f32; for int4 the group scales (panel, group, 32) and optional zero points
/// (panel, group, 32) follow.
struct QuantizedPanelLayout {
  QuantizedPanelLayout(const Quantization& q, Index cols, Index num_panels_)
      : depth(round_up(cols, q.format == WeightFormat::int4 ? q.group : kInt8Block)),
        num_panels(num_panels_),
        value_bytes(kPanelWidth * depth / (q.format == WeightFormat::int4 ? 2 : 1)),
        group_bytes(q.format == WeightFormat::int4 ? kPanelWidth * depth / q.group : 0),
        has_zero_points(q.zero_points) {}

  /// Bytes of the values of all panels, a multiple of 64.
  Index all_value_bytes() const { return num_panels * value_bytes; }
  Index bytes() const {
    return all_value_bytes() +
           num_panels * (kPanelWidth * 4 + (has_zero_points ? 2 : 1) * group_bytes);
  }

  /// The parts of the memory of a matrix, of type std::byte or const std::byte.
  template <class Byte>
  auto* channel_scales(Byte* memory, Index panel) const {
    return reinterpret_cast<CopyConst<Byte, float>*>(memory + all_value_bytes()) +
           panel * kPanelWidth;
  }
  template <class Byte>
  auto* group_scales(Byte* memory, Index panel) const {
    return reinterpret_cast<CopyConst<Byte, std::uint8_t>*>(
        memory + all_value_bytes() + num_panels * kPanelWidth * 4 + panel * group_bytes);
  }
  template <class Byte>
  auto* zero_points(Byte* memory, Index panel) const {
    return group_scales(memory, num_panels + panel);
  }

  QuantizedPanel panel(const void* memory, Index p) const {
    const auto* bytes = static_cast<const std::byte*>(memory);
    return {reinterpret_cast<const std::uint8_t*>(bytes) + p * value_bytes, group_scales(bytes, p),
            has_zero_points ? zero_points(bytes, p) : nullptr, channel_scales(bytes, p)};
  }

  Index depth;  // values of a column, padded to whole blocks or groups
  Index num_panels;
  Index value_bytes;  // of the values of a panel
  Index group_bytes;  // of the group scales of a panel, and of its zero points
  bool has_zero_points;

 private:
  template <class From, class To>
  using CopyConst = std::conditional_t<std::is_const_v<From>, const To, To>;
};

}  // namespace pllava::cpu::detail
