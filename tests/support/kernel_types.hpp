// The kernels' Type of each C++ element type, for tests that are templates over it.
#pragma once

#include "launch.hpp"
#include "simt.cuh"

namespace pllava::cuda::kernels {

template <class T>
constexpr Type type_of = Type::f32;
template <>
inline constexpr Type type_of<f16> = Type::f16;
template <>
inline constexpr Type type_of<bf16> = Type::bf16;

}  // namespace pllava::cuda::kernels
