#include "packet_index.hpp"

#include <algorithm>
#include <utility>

#include "ffmpeg_handles.hpp"

namespace pllava::detail {

PacketIndex::PacketIndex(std::vector<PacketInfo> packets, bool usable_timestamps)
    : packets_(std::move(packets)), has_timestamps_(usable_timestamps) {
  for (const PacketInfo& p : packets_) has_timestamps_ = has_timestamps_ && p.pts != AV_NOPTS_VALUE;
  by_pts_.resize(packets_.size());
  for (std::size_t i = 0; i < by_pts_.size(); ++i) by_pts_[i] = static_cast<Index>(i);
  if (has_timestamps_) {
    std::sort(by_pts_.begin(), by_pts_.end(),
              [&](Index a, Index b) { return packet(a).pts < packet(b).pts; });
    has_timestamps_ = std::adjacent_find(by_pts_.begin(), by_pts_.end(), [&](Index a, Index b) {
                        return packet(a).pts == packet(b).pts;
                      }) == by_pts_.end();
  }
  number_frames();
}

/// Without hidden packets, frame i is the i-th packet in presentation order. With hidden packets it
/// is what the reference's reader (decord) returns: decord seeks to the keyframe at or before i,
/// counting all packets, and skips the difference in frames; but the decoder has dropped the hidden
/// ones. So the frames of a group move up by the number of hidden packets in it, and the next group
/// starts at its keyframe again.
void PacketIndex::number_frames() {
  std::vector<Index> shown;
  for (const Index i : by_pts_)
    if (!packet(i).hidden) shown.push_back(i);
  if (!has_timestamps_ || shown.size() == by_pts_.size() || shown.empty()) {
    frames_ = std::move(shown);
    return;
  }
  std::size_t shown_before = 0;       // shown packets before packet i
  std::size_t hidden_before_key = 0;  // hidden packets before the keyframe of packet i
  for (std::size_t i = 0; i < by_pts_.size(); ++i) {
    const PacketInfo& p = packet(by_pts_[i]);
    if (p.key) hidden_before_key = i - shown_before;
    frames_.push_back(shown[std::min(i - hidden_before_key, shown.size() - 1)]);
    if (!p.hidden) ++shown_before;
  }
}

Index PacketIndex::find(std::int64_t pts) const {
  const auto it = std::lower_bound(
      by_pts_.begin(), by_pts_.end(), pts,
      [&](Index number, std::int64_t value) { return packet(number).pts < value; });
  return it != by_pts_.end() && packet(*it).pts == pts ? *it : -1;
}

Index PacketIndex::keyframe_before(Index number) const {
  for (Index i = number; i > 0; --i)
    if (packet(i).key && packet(i).pts <= packet(number).pts) return i;
  return 0;
}

}  // namespace pllava::detail
