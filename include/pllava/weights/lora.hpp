// Merges a low-rank adapter (LoRA) into its base weights (reference 7.6).
#pragma once

#include "pllava/weights/weight_source.hpp"

namespace pllava {

/// base + scale · (b · a), in f32: base (out, in), a (r, in), b (out, r) -> (out, in); each may be
/// f32, f16 or bf16. `scale` is alpha/r; scale 0 returns `base` itself.
///
/// The reference applies the adapter unmerged and rounds every step to bf16, so results differ by
/// rounding. Throws ShapeError, ArgumentError (a type that is not floating, a scale that is not
/// finite), OutOfMemoryError.
HostTensor merge_lora(const HostTensor& base, const HostTensor& a, const HostTensor& b,
                      float scale);

}  // namespace pllava

#ifndef PLLAVA_COMPILED
#include "pllava/weights/detail/lora_inl.hpp"
#endif
