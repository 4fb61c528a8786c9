// What this machine can do at most, to say how much of it the work reaches. On a shared machine the
// ceiling moves: measure it beside the work.
#pragma once

#include "pllava/cpu/backend.hpp"

namespace pllava::cpu {

/// Operations a second of the backend's matrix kernel with all operands in the first-level cache,
/// on all its threads. A multiplication with an addition counts as two.
double peak_flops(Backend& be);

/// The same of its matrix kernel for 8-bit integers.
double peak_integers(Backend& be);

/// The same of 8-bit integers with those of 4 bits, by the faster of the ways there are.
double peak_nibbles(Backend& be);

/// Bytes a second that all threads of the backend together read from memory. Allocates 512 MiB at
/// the first call. Throws OutOfMemoryError.
double read_bandwidth(Backend& be);

}  // namespace pllava::cpu

#ifndef PLLAVA_COMPILED
#include "pllava/cpu/detail/ceiling_inl.hpp"
#endif
