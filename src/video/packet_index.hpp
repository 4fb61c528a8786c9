// Which packet of a video file is frame i.
#pragma once

#include <cstdint>
#include <vector>

#include "pllava/config.hpp"

namespace pllava::detail {

/// A packet of the video stream, as demuxed without decoding.
struct PacketInfo {
  std::int64_t pts;  ///< AV_NOPTS_VALUE if unknown, like dts
  std::int64_t dts;
  bool key;     ///< decoding can start here
  bool hidden;  ///< decoded but not shown: outside of the container's edit list
};

/// Maps frame numbers, in presentation order, to packets, in file order.
class PacketIndex {
 public:
  /// The packets of a stream in file order. `usable_timestamps` false: frames cannot be found by
  /// the timestamps even if all packets have one.
  PacketIndex(std::vector<PacketInfo> packets, bool usable_timestamps);

  /// Whether each packet has a distinct timestamp, so that a decoded frame identifies its packet.
  /// Otherwise frames are found by counting them from the start of the file, and only frame_count()
  /// is meaningful.
  bool has_timestamps() const noexcept { return has_timestamps_; }
  Index frame_count() const noexcept { return static_cast<Index>(frames_.size()); }
  /// Number of the packet that is `frame`.
  Index packet_of(Index frame) const { return frames_[static_cast<std::size_t>(frame)]; }
  const PacketInfo& packet(Index number) const {
    return packets_[static_cast<std::size_t>(number)];
  }

  /// Number of the packet with this timestamp, -1 if there is none.
  Index find(std::int64_t pts) const;

  /// The keyframe from which packet `number` can be decoded. It precedes the packet in file order
  /// and in presentation order: packets between a later-presented keyframe and `number` refer to
  /// frames before that keyframe (open groups of pictures).
  Index keyframe_before(Index number) const;

 private:
  void number_frames();

  std::vector<PacketInfo> packets_;  // in file order
  std::vector<Index> by_pts_;        // packet numbers in presentation order
  std::vector<Index> frames_;        // packet number of frame i
  bool has_timestamps_;
};

}  // namespace pllava::detail
