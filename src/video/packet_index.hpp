// Which packet of a video file is frame i, and when it is presented.
#pragma once

#include <cstdint>
#include <vector>

#include "pllava/media/video.hpp"

namespace pllava::detail {

/// A packet of the video stream, as demuxed without decoding.
struct PacketInfo {
  std::int64_t pts;  ///< AV_NOPTS_VALUE if unknown, like dts
  std::int64_t dts;
  bool key;     ///< decoding can start here
  bool hidden;  ///< decoded but not shown: outside of the container's edit list
};

/// What a PacketIndex must know about the stream.
struct PacketClock {
  double tick;      ///< seconds per unit of the timestamps
  double interval;  ///< seconds between frames, for frames without a timestamp
  bool may_jump;    ///< the format allows jumps of the clock
  bool usable;      ///< false: timestamps do not identify packets, for example in animations
};

/// Maps frame numbers, in presentation order, to packets, in file order.
class PacketIndex {
 public:
  /// The packets of a stream in file order.
  PacketIndex(std::vector<PacketInfo> packets, const PacketClock& clock, FrameNumbering numbering);

  /// Whether each packet has a distinct timestamp on a continuous clock, so that a decoded frame
  /// identifies its packet. Otherwise frames are found by counting them from the start of the file,
  /// and only frame_count() and times() are meaningful.
  bool has_timestamps() const noexcept { return has_timestamps_; }
  Index frame_count() const noexcept { return static_cast<Index>(frames_.size()); }
  /// Number of the packet that is `frame`.
  Index packet_of(Index frame) const { return frames_[static_cast<std::size_t>(frame)]; }
  /// Seconds from the first frame, by frame number; ascending unless numbered like in decord.
  const std::vector<double>& times() const noexcept { return times_; }
  Index packet_count() const noexcept { return static_cast<Index>(packets_.size()); }
  const PacketInfo& packet(Index number) const {
    return packets_[static_cast<std::size_t>(number)];
  }

  bool has_hidden() const noexcept { return frames_.size() != packets_.size(); }
  /// The last keyframe at or before packet `number` in file order.
  Index key_packet_before(Index number) const;
  /// Number of the packet with this timestamp, -1 if there is none.
  Index find(std::int64_t pts) const;

  /// The keyframe from which packet `number` can be decoded. It precedes the packet in file order
  /// and in presentation order: packets between a later-presented keyframe and `number` refer to
  /// frames before that keyframe (open groups of pictures).
  Index keyframe_before(Index number) const;

 private:
  bool find_segments(const PacketClock& clock);
  void order_packets(const PacketClock& clock);
  void number_frames(const PacketClock& clock, FrameNumbering numbering);
  void number_like_decord();
  void compute_times(const PacketClock& clock);

  std::vector<PacketInfo> packets_;  // in file order
  std::vector<Index> segments_;      // first packets of the parts with a clock of their own
  std::vector<Index> by_pts_;        // packet numbers in presentation order
  std::vector<Index> frames_;        // packet number of frame i
  std::vector<double> times_;        // of frame i
  bool has_timestamps_ = false;
};

}  // namespace pllava::detail
