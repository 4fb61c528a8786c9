// Device memory of tensors and of intermediate results.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include "device.hpp"

namespace pllava::cuda {

/// `purpose` is part of the message of OutOfMemoryError.
inline std::shared_ptr<void> device_memory(const std::shared_ptr<Device>& device, Index bytes,
                                           const char* purpose) {
  return {device->allocate(std::max<Index>(bytes, 1), purpose),
          [device](void* memory) { device->release(memory); }};
}

/// A stack allocator over blocks of device memory. Equal sequences of requests get equal addresses,
/// so a captured graph stays valid.
class Scratch {
 public:
  explicit Scratch(std::shared_ptr<Device> device) : device_(std::move(device)) {}

  void* allocate(Index bytes) {
    bytes = (bytes + kAlignment - 1) / kAlignment * kAlignment;
    while (block_ < blocks_.size() && used_ + bytes > blocks_[block_].bytes) ++block_, used_ = 0;
    if (block_ == blocks_.size()) {
      const Index size = std::max(bytes, kMinBlockBytes);
      blocks_.push_back({device_memory(device_, size, "scratch"), size});
      used_ = 0;
    }
    void* const memory = static_cast<std::byte*>(blocks_[block_].memory.get()) + used_;
    used_ += bytes;
    return memory;
  }

  std::size_t block() const noexcept { return block_; }
  Index used() const noexcept { return used_; }
  void rewind(std::size_t block, Index used) noexcept { block_ = block, used_ = used; }

 private:
  static constexpr Index kAlignment = 256;
  static constexpr Index kMinBlockBytes = Index{32} << 20;

  struct Block {
    std::shared_ptr<void> memory;
    Index bytes;
  };
  std::shared_ptr<Device> device_;
  std::vector<Block> blocks_;
  std::size_t block_ = 0;
  Index used_ = 0;
};

}  // namespace pllava::cuda
