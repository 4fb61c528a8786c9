// The f32 part of prefill_attention(), in a separate source file.
#pragma once

#include "launch.hpp"

namespace pllava::cuda::kernels {

/// prefill_attention() for supported calls in f32.
int prefill_attention_f32(const Attention& params, Stream stream);

}  // namespace pllava::cuda::kernels
