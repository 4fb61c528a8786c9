// Keys and values of one conversation, layer by layer, sized once. The layout belongs to the
// backend.
#pragma once

#include <cstdint>
#include <vector>

#include "pllava/core/backend.hpp"

namespace pllava {

/// Threads: belongs to one thread at a time.
template <Backend B>
class KvCache {
 public:
  /// Room for `capacity` rows in each of `layers` layers. Throws OutOfMemoryError.
  KvCache(B& be, Index layers, const Heads& heads, Index capacity)
      : capacity_(capacity), past_(be, {1}, DType::i32) {
    for (Index l = 0; l < layers; ++l) layers_.push_back(be.make_kv(heads, capacity));
    truncate(be, 0);
  }

  Index capacity() const noexcept { return capacity_; }
  /// Rows stored so far.
  Index length() const noexcept { return length_; }
  typename B::KvLayer& layer(Index l) { return layers_[static_cast<std::size_t>(l)]; }

  /// The position of `rows` rows that are about to be appended. Throws ContextError if they do not
  /// fit.
  Sequence extend_by(Index rows) const {
    if (length_ + rows > capacity_) throw ContextError(length_ + rows, capacity_);
    return {past_, length_ + rows, 1};
  }

  /// Forgets everything after the first `length` rows, in O(1).
  void truncate(B& be, Index length) {
    length_ = length;
    const auto value = static_cast<std::int32_t>(length);
    be.upload(past_, &value);
  }

 private:
  Index capacity_;
  Index length_ = 0;
  Tensor<B> past_;  // (1) i32, the same number in backend memory
  std::vector<typename B::KvLayer> layers_;
};

}  // namespace pllava
