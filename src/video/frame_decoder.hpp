// Decodes the frames of one source, sequentially or from a given packet.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "demuxer.hpp"
#include "ffmpeg_handles.hpp"
#include "packet_index.hpp"

namespace pllava::detail {

/// Demuxer and decoder of one source, and their position in it.
class FrameDecoder {
 public:
  /// Opens the source. Throws MediaError, CancelledError, OutOfMemoryError, as all members do.
  explicit FrameDecoder(MediaInput& input);

  /// Reopens the source at its first packet.
  void open();
  /// Marks the position as unknown, after an exception interrupted a read.
  void invalidate() noexcept { position_ = Position::invalid; }
  /// Reopens the source if the position is unknown.
  void ensure_open();
  /// Returns to the first packet.
  void restart();

  const Demuxer& demuxer() const noexcept { return *demuxer_; }
  bool seekable() const noexcept { return seekable_; }

  /// Indexes the packets from the first on: by the container's index if it has one, otherwise by
  /// reading all packets without decoding them.
  const PacketIndex& read_index();
  /// Whether the packets that were read since contradict the container's index.
  bool index_is_wrong() const noexcept { return index_is_wrong_; }
  /// Indexes the packets again, by reading them.
  const PacketIndex& read_index_from_packets();

  /// Whether no frame refers to others.
  bool is_intra_only() const;
  /// `next` decodes only packets for which `wanted` is true. Precondition: is_intra_only().
  void set_packet_filter(std::function<bool(const AVPacket&)> wanted) {
    wanted_ = std::move(wanted);
  }

  /// Decodes the next frame in presentation order into frame(). False at the end.
  bool next();
  /// Decodes up to the frame of this packet; needs an index with timestamps. False if the frame
  /// cannot be decoded.
  bool decode_packet(Index number);
  /// Decodes up to frame `number`, counted from the start of the file. False if there is none.
  bool decode_nth(Index number);

  const AVFrame& frame() const noexcept { return *frame_; }
  /// Timestamp of frame(), AV_NOPTS_VALUE if unknown.
  std::int64_t pts() const noexcept { return pts_; }
  /// Number of frames since the source was last opened.
  Index frames() const noexcept { return frames_; }
  /// Number of frames in total.
  Index decoded_frames() const noexcept { return decoded_frames_; }

 private:
  /// Position of the demuxer.
  enum class Position {
    invalid,     ///< a read was interrupted, or the source could not be opened
    at_start,    ///< nothing was read since the source was opened
    after_seek,  ///< next_packet_ is unknown until the first packet is read
    reading,     ///< next_packet_ is the number of the next packet
  };
  /// How the decoder gets its next input.
  enum class Feed {
    read_packet,  ///< packet_ is empty
    send_packet,  ///< packet_ waits until the decoder accepts it
    drain,        ///< there are no more packets; the decoder returns the frames that it holds
    replace,      ///< packet_ needs another decoder; this one returns the frames that it holds
  };

  void open_codec();
  bool read_packet();
  void set_index(std::vector<PacketInfo> packets);
  void seek(Index packet);
  void read_from_start(Index first_packet);
  bool find_position();
  bool groups_are_closed() const;
  bool seek_by_count(Index key);
  bool is_expected(const AVPacket& packet) const;
  void feed();

  MediaInput& input_;
  std::optional<Demuxer> demuxer_;
  FfmpegHandle<AVCodecContext> codec_;
  FfmpegHandle<AVPacket> packet_;
  FfmpegHandle<AVFrame> frame_;
  std::function<bool(const AVPacket&)> wanted_;
  std::optional<PacketIndex> index_;
  bool index_is_unverified_ = false;  // it comes from the container
  bool index_is_wrong_ = false;
  bool can_seek_by_count_ = true;
  bool seekable_ = false;

  int codec_stream_ = -1;  // the stream that codec_ decodes
  Position position_ = Position::invalid;
  Feed feed_ = Feed::read_packet;
  Index next_packet_ = 0;
  Index first_packet_ = 0;  // earlier packets are not decoded
  std::int64_t pts_ = AV_NOPTS_VALUE;
  Index frames_ = 0;
  Index decoded_frames_ = 0;
};

}  // namespace pllava::detail
