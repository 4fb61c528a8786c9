// Linear layers: matrix products with fused epilogues.
#pragma once

#include <algorithm>

#include "pllava/cpu/backend.hpp"
#include "pllava/cpu/detail/matmul.hpp"
#include "pllava/cpu/detail/rows.hpp"

namespace pllava::cpu {

PLLAVA_INLINE void Backend::linear(View y, ConstView x, const Linear& w, Activation act) {
  const Index O = w.out;
  const float* bias = w.bias ? w.bias.floats() : nullptr;
  detail::matmul(context(), x, w.weight, detail::ceil_div(O, kPanelWidth),
                 [&](Index row, Index rows, Index panel, float* tile) {
                   const Index first = panel * kPanelWidth, n = std::min(kPanelWidth, O - first);
                   for (Index r = 0; r < rows; ++r) {
                     float* columns = tile + r * kPanelWidth;
                     if (bias != nullptr) kernels_->add(columns, bias + first, n);
                     kernels_->activate(columns, n, act);
                     detail::store_columns(*kernels_, y, row + r, first, columns, n);
                   }
                 });
}

PLLAVA_INLINE void Backend::residual(View x, ConstView y, const Linear& w) {
  const Index O = w.out;
  const float* bias = w.bias ? w.bias.floats() : nullptr;
  detail::matmul(context(), y, w.weight, detail::ceil_div(O, kPanelWidth),
                 [&](Index row, Index rows, Index panel, float* tile) {
                   const Index first = panel * kPanelWidth, n = std::min(kPanelWidth, O - first);
                   for (Index r = 0; r < rows; ++r) {
                     float* columns = tile + r * kPanelWidth;
                     if (bias != nullptr) kernels_->add(columns, bias + first, n);
                     kernels_->add(x.as<float>() + (row + r) * O + first, columns, n);
                   }
                 });
}

PLLAVA_INLINE void Backend::glu(View g, ConstView h, const Linear& gate_up, Activation act) {
  const Index F = gate_up.out, half = kPanelWidth / 2;
  detail::matmul(context(), h, gate_up.weight, detail::ceil_div(F, half),
                 [&](Index row, Index rows, Index panel, float* tile) {
                   const Index first = panel * half, n = std::min(half, F - first);
                   for (Index r = 0; r < rows; ++r) {
                     float* columns = tile + r * kPanelWidth;
                     kernels_->act_mul(columns, columns + half, n, act);
                     detail::store_columns(*kernels_, g, row + r, first, columns, n);
                   }
                 });
}

}  // namespace pllava::cpu
