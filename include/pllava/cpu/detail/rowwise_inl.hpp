// Row-wise verbs: norms and embedding.
#pragma once

#include <algorithm>
#include <cstdint>

#include "pllava/cpu/backend.hpp"
#include "pllava/cpu/detail/execution_context.hpp"
#include "pllava/cpu/detail/rows.hpp"

namespace pllava::cpu {

PLLAVA_INLINE void Backend::norm(View y, ConstView x, const Norm& n) {
  constexpr Index kTaskRows = 16;
  const Index D = x.cols();
  auto scope = this->scope();
  const auto rows = context().per_thread<float>(D);
  pool_->run(detail::ceil_div(x.rows(), kTaskRows), [&](Index b, Index thread) {
    float* const out = rows[thread];
    for (Index r = b * kTaskRows; r < std::min(x.rows(), (b + 1) * kTaskRows); ++r) {
      kernels_->norm(out, x.as<float>() + r * D, n.gain.floats(),
                     n.bias ? n.bias.floats() : nullptr, n.eps, D, n.kind == NormKind::rms);
      detail::store_row(*kernels_, y, r, out);
    }
  });
}

PLLAVA_INLINE void Backend::embed(View x, ConstView ids, const Weight& table) {
  const ConstView rows{table.data.get(), table.dtype, {table.rows, table.cols}};
  for (Index n = 0; n < x.rows(); ++n)
    detail::load_row(*kernels_, x.as<float>() + n * x.cols(), rows, ids.as<std::int32_t>()[n]);
}

}  // namespace pllava::cpu
