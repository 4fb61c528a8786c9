// Element-wise activation functions.
#pragma once

#include <cstdint>

namespace pllava {

/// Activation of a linear layer. `quick_gelu` is x · sigmoid(1.702·x), as in CLIP; `gelu` is the
/// exact form (erf); `gelu_tanh` approximates it by tanh, as in SigLIP; `silu` is x · sigmoid(x).
/// 0.5·x·(1 + tanh(u)) is x · sigmoid(2u), with u = √(2/π)·(x + 0.044715·x³).
enum class Activation : std::uint8_t { none, quick_gelu, gelu, gelu_tanh, silu };

}  // namespace pllava
