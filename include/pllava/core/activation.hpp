// Element-wise activation functions.
#pragma once

#include <cstdint>

namespace pllava {

/// Activation of a linear layer. `quick_gelu` is x · sigmoid(1.702·x), as in CLIP; `gelu` is the
/// exact form (erf); `silu` is x · sigmoid(x).
enum class Activation : std::uint8_t { none, quick_gelu, gelu, silu };

}  // namespace pllava
