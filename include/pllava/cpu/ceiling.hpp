// Measures peak compute and memory bandwidth, the ceilings of roofline reports. On a shared machine
// they change over time: measure them right before or after the work they are compared with.
#pragma once

#include "pllava/cpu/backend.hpp"

namespace pllava::cpu {

/// Floating-point operations per second of the backend's matrix kernel in its activation type, with
/// operands of one tile, which stay in the L1 or L2 cache, on all its threads. A multiply-add
/// counts as two operations.
double peak_flops(Backend& be);

/// As peak_flops, for int8 weights and int8 activations.
double peak_int8_ops(Backend& be);

/// As peak_flops, for int4 weights and int8 activations, with the kernel the backend prefers.
double peak_int4_ops(Backend& be);

/// Bytes per second that all threads of the backend together read from memory. The first
/// call allocates 512 MiB, which stay allocated. Throws OutOfMemoryError.
double read_bandwidth(Backend& be);

}  // namespace pllava::cpu

#ifndef PLLAVA_COMPILED
#include "pllava/cpu/detail/ceiling_inl.hpp"
#endif
