#include "packet_index.hpp"

#include <algorithm>
#include <utility>

#include "ffmpeg_handles.hpp"
#include "timeline.hpp"

namespace pllava::detail {

PacketIndex::PacketIndex(std::vector<PacketInfo> packets, const PacketClock& clock,
                         FrameNumbering numbering)
    : packets_(std::move(packets)) {
  const bool continuous = find_segments(clock);
  order_packets(clock);
  has_timestamps_ = has_timestamps_ && continuous;
  number_frames(clock, numbering);
}

/// Finds the packets at which the clock jumps. Replaces single wrong timestamps by those of the
/// packet before, one frame later. False if there was either.
bool PacketIndex::find_segments(const PacketClock& clock) {
  segments_ = {0};
  bool continuous = true;
  std::int64_t last = AV_NOPTS_VALUE;        // the last known decoding time
  std::int64_t before_gap = AV_NOPTS_VALUE;  // the one before the last gap
  Index gap_end = -1;                        // the packet after the last gap
  const auto seconds = [&](std::int64_t from, std::int64_t to) {
    return (static_cast<double>(to) - static_cast<double>(from)) * clock.tick;
  };
  for (Index i = 0; i < static_cast<Index>(packets_.size()); ++i) {
    const PacketInfo& p = packet(i);
    const std::int64_t now = p.dts != AV_NOPTS_VALUE ? p.dts : p.pts;
    if (now == AV_NOPTS_VALUE) continue;
    const double step = last == AV_NOPTS_VALUE ? 0.0 : seconds(last, now);
    if (step < -ClockLimits::kBack && gap_end == i - 1 &&
        std::abs(seconds(before_gap, now)) < ClockLimits::kAhead) {
      const auto interval = static_cast<std::int64_t>(clock.interval / clock.tick);
      const PacketInfo& before = packet(gap_end - 1);
      PacketInfo& wrong = packets_[static_cast<std::size_t>(gap_end)];
      wrong.dts = before.dts == AV_NOPTS_VALUE ? before.dts : before.dts + interval;
      wrong.pts = before.pts == AV_NOPTS_VALUE ? before.pts : before.pts + interval;
      if (segments_.back() == gap_end) segments_.pop_back();
      continuous = false;
    } else if (step < -ClockLimits::kBack || (clock.may_jump && step > ClockLimits::kAhead)) {
      segments_.push_back(i);
      continuous = false;
    }
    if (step > ClockLimits::kAhead) {
      before_gap = last;
      gap_end = i;
    }
    last = now;
  }
  return continuous;
}

/// Sorts the packets of each segment by presentation time. Determines has_timestamps_.
void PacketIndex::order_packets(const PacketClock& clock) {
  has_timestamps_ = clock.usable;
  for (const PacketInfo& p : packets_) has_timestamps_ = has_timestamps_ && p.pts != AV_NOPTS_VALUE;
  by_pts_.resize(packets_.size());
  for (std::size_t i = 0; i < by_pts_.size(); ++i) by_pts_[i] = static_cast<Index>(i);
  for (std::size_t s = 0; s < segments_.size(); ++s) {
    const auto begin = by_pts_.begin() + segments_[s];
    const auto end = s + 1 < segments_.size() ? by_pts_.begin() + segments_[s + 1] : by_pts_.end();
    // Without a complete order, file order is the best estimate.
    if (!std::all_of(begin, end, [&](Index i) { return packet(i).pts != AV_NOPTS_VALUE; }))
      continue;
    std::stable_sort(begin, end, [&](Index a, Index b) { return packet(a).pts < packet(b).pts; });
    has_timestamps_ = has_timestamps_ && std::adjacent_find(begin, end, [&](Index a, Index b) {
                                           return packet(a).pts == packet(b).pts;
                                         }) == end;
  }
}

void PacketIndex::number_frames(const PacketClock& clock, FrameNumbering numbering) {
  for (const Index i : by_pts_)
    if (!packet(i).hidden) frames_.push_back(i);
  compute_times(clock);
  if (numbering == FrameNumbering::decord && has_timestamps_ && !frames_.empty() &&
      frames_.size() != by_pts_.size())
    number_like_decord();
}

/// decord seeks to the keyframe at or before frame i, counting all packets, and skips the
/// difference in frames; but the decoder has dropped the hidden ones. So the frames of a group move
/// up by the number of hidden packets in it, and the next group starts at its keyframe.
void PacketIndex::number_like_decord() {
  const std::vector<Index> shown = std::move(frames_);
  const std::vector<double> shown_times = std::move(times_);
  frames_.clear();
  times_.clear();
  std::size_t shown_before = 0;       // shown packets before packet i
  std::size_t hidden_before_key = 0;  // hidden packets before the keyframe of packet i
  for (std::size_t i = 0; i < by_pts_.size(); ++i) {
    const PacketInfo& p = packet(by_pts_[i]);
    if (p.key) hidden_before_key = i - shown_before;
    const std::size_t frame = std::min(i - hidden_before_key, shown.size() - 1);
    frames_.push_back(shown[frame]);
    times_.push_back(shown_times[frame]);
    if (!p.hidden) ++shown_before;
  }
}

void PacketIndex::compute_times(const PacketClock& clock) {
  // Files without presentation times (AVI) have decoding times, which rise by the same steps.
  const auto all_have = [&](std::int64_t PacketInfo::*stamp) {
    return std::all_of(frames_.begin(), frames_.end(),
                       [&](Index i) { return packet(i).*stamp != AV_NOPTS_VALUE; });
  };
  const auto stamp = !all_have(&PacketInfo::pts) && all_have(&PacketInfo::dts) ? &PacketInfo::dts
                                                                               : &PacketInfo::pts;
  Timeline timeline(clock.tick, clock.interval, clock.may_jump);
  times_.reserve(frames_.size());
  for (const Index i : frames_) times_.push_back(timeline.next(packet(i).*stamp));
}

Index PacketIndex::find(std::int64_t pts) const {
  const auto it = std::lower_bound(
      by_pts_.begin(), by_pts_.end(), pts,
      [&](Index number, std::int64_t value) { return packet(number).pts < value; });
  return it != by_pts_.end() && packet(*it).pts == pts ? *it : -1;
}

Index PacketIndex::key_packet_before(Index number) const {
  Index key = std::min(number, packet_count() - 1);
  while (key > 0 && !packet(key).key) --key;
  return key;
}

Index PacketIndex::keyframe_before(Index number) const {
  for (Index i = number; i > 0; --i)
    if (packet(i).key && packet(i).pts <= packet(number).pts) return i;
  return 0;
}

}  // namespace pllava::detail
