// Device memory of tensors, weights and scratch blocks.
#pragma once

#include <algorithm>
#include <memory>

#include "device.hpp"

namespace pllava::cuda {

/// `purpose` is part of the message of OutOfMemoryError.
inline std::shared_ptr<void> device_memory(const std::shared_ptr<Device>& device, Index bytes,
                                           const char* purpose) {
  return {device->allocate(std::max<Index>(bytes, 1), purpose),
          [device](void* memory) { device->release(memory); }};
}

}  // namespace pllava::cuda
