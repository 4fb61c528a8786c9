// Weights as the CPU backend stores them.
#pragma once

#include <memory>

#include "pllava/core/dtype.hpp"
#include "pllava/core/quantization.hpp"

namespace pllava::cpu {

/// A prepared weight; copies share the memory.
struct Weight {
  DType dtype = DType::f32;
  Index rows = 0;  ///< N, without the padding to whole panels
  Index cols = 0;  ///< K
  std::shared_ptr<const void> data;
  Quantization quantization = {};
  explicit operator bool() const noexcept { return data != nullptr; }
  const float* floats() const noexcept { return static_cast<const float*>(data.get()); }
};

}  // namespace pllava::cpu
