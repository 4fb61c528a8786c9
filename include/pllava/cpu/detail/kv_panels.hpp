// The panels that keys and values are stored in.
#pragma once

#include <type_traits>

#include "pllava/core/backend.hpp"
#include "pllava/core/dtype.hpp"
#include "pllava/cpu/detail/execution_context.hpp"
#include "pllava/cpu/kernels.hpp"

namespace pllava::cpu::detail {

/// Values that a panel interleaves along the summed axis: pairs in bf16.
template <class T>
inline constexpr Index kInterleave = std::is_same_v<T, bf16> ? 2 : 1;

/// Sizes and offsets of the panels of one kv head: keys [position/32][dim][32], values
/// [dim/32][position][32], interleaved along dim and position.
struct KvPanelLayout {
  Index key_dim;     // head_dim padded to pairs
  Index value_dim;   // head_dim padded to whole panels
  Index interleave;  // see kInterleave

  KvPanelLayout(Index head_dim, Index interleave_)
      : key_dim(round_up(head_dim, 2)),
        value_dim(round_up(head_dim, kPanelWidth)),
        interleave(interleave_) {}

  /// Offset of the key of position p; its next `interleave` values follow 32 · interleave later.
  Index key_offset(Index p) const {
    return p / kPanelWidth * kPanelWidth * key_dim + p % kPanelWidth * interleave;
  }
  /// Offset of 32 values from dimension d on, of the `interleave` positions that p belongs to.
  Index value_offset(Index p, Index d, Index capacity) const {
    return d * capacity + p / interleave * interleave * kPanelWidth;
  }
  Index keys_per_head(Index capacity) const { return capacity * key_dim; }
  Index values_per_head(Index capacity) const { return capacity * value_dim; }
};

/// Keys and values of one layer, in the KV cache or in scratch memory.
struct KvPanels {
  Index capacity;  // positions
  void *keys, *values;
  float* scales;  // (head, 2, position), of keys and values in int8; otherwise null

  /// Indices into `scales`.
  Index key_scale(Index head, Index p) const { return 2 * head * capacity + p; }
  Index value_scale(Index head, Index p) const { return (2 * head + 1) * capacity + p; }
};

/// Read access to the panels of one head, of type P.
template <class P>
class HeadPanels {
 public:
  HeadPanels(const Heads& heads, const KvPanels& kv, Index head)
      : layout_(heads.head_dim, kInterleave<P>),
        capacity_(kv.capacity),
        keys_(static_cast<const P*>(kv.keys) + head * layout_.keys_per_head(kv.capacity)),
        values_(static_cast<const P*>(kv.values) + head * layout_.values_per_head(kv.capacity)),
        key_scales_(kv.scales == nullptr ? nullptr : kv.scales + kv.key_scale(head, 0)),
        value_scales_(kv.scales == nullptr ? nullptr : kv.scales + kv.value_scale(head, 0)) {}

  /// A panel of 32 positions from p on, a multiple of 32: [dim/interleave][32][interleave].
  const P* keys(Index p) const { return keys_ + p * layout_.key_dim; }
  /// A panel of 32 dimensions from d on, a multiple of 32, of the positions from p on:
  /// [position/interleave][32][interleave].
  const P* values(Index p, Index d) const {
    return values_ + layout_.value_offset(p, d, capacity_);
  }
  /// Scales of the positions from p on; null unless the panels are int8.
  const float* key_scales(Index p) const {
    return key_scales_ == nullptr ? nullptr : key_scales_ + p;
  }
  const float* value_scales(Index p) const {
    return value_scales_ == nullptr ? nullptr : value_scales_ + p;
  }

 private:
  KvPanelLayout layout_;
  Index capacity_;
  const P *keys_, *values_;
  const float *key_scales_, *value_scales_;
};

}  // namespace pllava::cpu::detail
