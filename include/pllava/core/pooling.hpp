// The kinds of pooling.
#pragma once

#include <cstdint>

namespace pllava {

/// Reduction over the rows of one pooling window.
enum class PoolKind : std::uint8_t { average, maximum };

}  // namespace pllava
