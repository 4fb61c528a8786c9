#include "frame_decoder.hpp"

#include <string>
#include <utility>
#include <vector>

namespace pllava::detail {

namespace {

/// Whether the first picture of an H.264 packet is an IDR picture. NAL units follow start codes
/// (Annex B) or lengths (avcC).
bool begins_with_idr(const AVPacket& packet, const AVCodecParameters& parameters) {
  constexpr int kFirstSlice = 1, kIdrSlice = 5;  // types of NAL units with a picture
  const bool has_lengths = parameters.extradata_size > 4 && parameters.extradata[0] == 1;
  const int length_bytes = has_lengths ? (parameters.extradata[4] & 3) + 1 : 0;
  for (std::int64_t i = 0; i + 4 < packet.size;) {
    std::int64_t header = i + 3;
    std::int64_t next = i + 1;
    if (has_lengths) {
      std::int64_t length = 0;
      for (int k = 0; k < length_bytes; ++k) length = length << 8 | packet.data[i + k];
      header = i + length_bytes;
      next = header + length;
    } else if (packet.data[i] != 0 || packet.data[i + 1] != 0 || packet.data[i + 2] != 1) {
      ++i;
      continue;
    }
    const int type = packet.data[header] & 31;
    if (type >= kFirstSlice && type <= kIdrSlice) return type == kIdrSlice;
    i = next;
  }
  return false;
}

}  // namespace

FrameDecoder::FrameDecoder(MediaInput& input)
    : input_(input), packet_(av_packet_alloc()), frame_(av_frame_alloc()) {
  if (!packet_ || !frame_) throw OutOfMemoryError(input_.name, sizeof(AVFrame));
  open();
}

void FrameDecoder::open() {
  position_ = Position::invalid;
  codec_.reset();
  demuxer_.reset();
  demuxer_.emplace(input_);
  open_codec();
  seekable_ = demuxer_->seekable();
  av_packet_unref(packet_.get());
  feed_ = Feed::read_packet;
  next_packet_ = first_packet_ = frames_ = 0;
  pts_ = AV_NOPTS_VALUE;
  position_ = Position::at_start;
}

void FrameDecoder::open_codec() {
  const AVCodecParameters& parameters = *demuxer_->stream().codecpar;
  const AVCodec* decoder = avcodec_find_decoder(parameters.codec_id);
  if (decoder == nullptr)
    input_.fail_for_good(std::string("this FFmpeg has no decoder for ") +
                         avcodec_get_name(parameters.codec_id));
  codec_.reset(avcodec_alloc_context3(decoder));
  if (!codec_) throw OutOfMemoryError(input_.name, sizeof(AVCodecContext));
  int status = avcodec_parameters_to_context(codec_.get(), &parameters);
  codec_->pkt_timebase = demuxer_->stream().time_base;
  codec_->thread_count = input_.options.threads;
  codec_->max_pixels = input_.options.max_pixels;
  // Threads that decode different frames delay each by the number of threads.
  if (input_.may_wait() && is_intra_only()) codec_->thread_type = FF_THREAD_SLICE;
  if (status >= 0) status = avcodec_open2(codec_.get(), decoder, nullptr);
  if (status < 0) input_.fail("the decoder cannot be opened (" + ffmpeg_error_text(status) + ")");
  codec_stream_ = demuxer_->stream().index;
}

bool FrameDecoder::is_intra_only() const {
  const AVCodecDescriptor* const codec =
      avcodec_descriptor_get(demuxer_->stream().codecpar->codec_id);
  return codec != nullptr && (codec->props & AV_CODEC_PROP_INTRA_ONLY) != 0;
}

void FrameDecoder::ensure_open() {
  if (position_ == Position::invalid) open();
}

void FrameDecoder::restart() {
  if (position_ != Position::at_start) open();
}

// --- packets ---

bool FrameDecoder::read_packet() {
  if (position_ == Position::at_start) position_ = Position::reading;
  return demuxer_->read(*packet_);
}

void FrameDecoder::set_index(std::vector<PacketInfo> packets) {
  // A frame of an animation is drawn over the previous one, even if it is marked as a keyframe.
  const AVCodecID codec = demuxer_->stream().codecpar->codec_id;
  PacketIndex index(std::move(packets),
                    {.tick = av_q2d(demuxer_->stream().time_base),
                     .interval = demuxer_->frame_interval(),
                     .may_jump = demuxer_->clock_may_jump(),
                     .usable = codec != AV_CODEC_ID_GIF && codec != AV_CODEC_ID_APNG &&
                               demuxer_->stream().index == codec_stream_},
                    input_.options.numbering);
  if (index.frame_count() == 0) input_.fail("contains no visible frames");
  index_ = std::move(index);
}

const PacketIndex& FrameDecoder::read_index() {
  std::vector<PacketInfo> packets = demuxer_->container_index();
  if (packets.empty()) return read_index_from_packets();
  // FFmpeg moves all presentation times by a constant, which the first packet shows.
  if (!read_packet()) return read_index_from_packets();
  const std::int64_t pts = packet_->pts;
  const std::int64_t dts = packet_->dts;
  av_packet_unref(packet_.get());
  const bool has_pts = packets.front().pts != AV_NOPTS_VALUE;
  if ((has_pts && pts == AV_NOPTS_VALUE) || dts != packets.front().dts)
    return read_index_from_packets();
  const std::int64_t shift = has_pts ? pts - packets.front().pts : 0;
  if (has_pts)
    for (PacketInfo& p : packets) p.pts += shift;
  set_index(std::move(packets));
  if (has_pts && !index_->has_timestamps()) return read_index_from_packets();
  index_is_unverified_ = true;
  if (has_pts)
    seek(0);
  else
    restart();
  return *index_;
}

const PacketIndex& FrameDecoder::read_index_from_packets() {
  restart();
  std::vector<PacketInfo> packets;
  const auto mebibytes = [](std::int64_t bytes) { return static_cast<Index>(bytes >> 20); };
  Index reported = 0;
  while (read_packet()) {
    const Index read = mebibytes(demuxer_->position());
    if (input_.options.progress && read > reported)
      input_.options.progress("index", reported = read, mebibytes(demuxer_->size()));
    packets.push_back({packet_->pts, packet_->dts, (packet_->flags & AV_PKT_FLAG_KEY) != 0,
                       (packet_->flags & AV_PKT_FLAG_DISCARD) != 0});
    av_packet_unref(packet_.get());
  }
  if (packets.empty()) input_.fail("contains no frames");
  set_index(std::move(packets));
  index_is_unverified_ = index_is_wrong_ = false;
  open();
  return *index_;
}

/// Continues decoding at `packet`.
void FrameDecoder::seek(Index packet) {
  avcodec_flush_buffers(codec_.get());
  av_packet_unref(packet_.get());
  feed_ = Feed::read_packet;
  pts_ = AV_NOPTS_VALUE;
  first_packet_ = packet;
  const PacketInfo& p = index_->packet(packet);
  if (demuxer_->seek(p.dts != AV_NOPTS_VALUE ? p.dts : p.pts))
    position_ = Position::after_seek;
  else
    read_from_start(packet);
}

/// Reads the packets before `first_packet` without decoding them.
void FrameDecoder::read_from_start(Index first_packet) {
  open();
  first_packet_ = first_packet;
  position_ = Position::reading;
}

/// Determines from the first packet after a seek where the container has sought to. If that is too
/// late or unknown, reads from the start of the file and returns false.
bool FrameDecoder::find_position() {
  position_ = Position::reading;
  next_packet_ = index_->find(packet_->pts);
  if (next_packet_ >= 0 && next_packet_ <= first_packet_) return true;
  av_packet_unref(packet_.get());
  read_from_start(first_packet_);
  return false;
}

/// Whether the packet is the one that the container's index lists next.
bool FrameDecoder::is_expected(const AVPacket& packet) const {
  if (next_packet_ >= index_->packet_count()) return false;
  const PacketInfo& expected = index_->packet(next_packet_);
  return expected.pts != AV_NOPTS_VALUE ? packet.pts == expected.pts : packet.dts == expected.dts;
}

/// Sends the decoder one packet, or the end of the stream.
void FrameDecoder::feed() {
  while (feed_ == Feed::read_packet) {
    if (!read_packet()) {
      if (position_ == Position::after_seek) {  // the container sought past the end
        read_from_start(first_packet_);
        continue;
      }
      avcodec_send_packet(codec_.get(), nullptr);
      feed_ = Feed::drain;
      return;
    }
    if (position_ == Position::after_seek && !find_position()) continue;
    if (index_is_unverified_ && !is_expected(*packet_)) index_is_wrong_ = true;
    if (next_packet_++ < first_packet_ || (wanted_ && !wanted_(*packet_)))
      av_packet_unref(packet_.get());
    else
      feed_ = Feed::send_packet;
  }
  if (demuxer_->stream().index != codec_stream_) {
    avcodec_send_packet(codec_.get(), nullptr);
    feed_ = Feed::replace;
    return;
  }
  if (avcodec_send_packet(codec_.get(), packet_.get()) == AVERROR(EAGAIN)) return;
  av_packet_unref(packet_.get());  // sent, or damaged: the next one may be intact
  feed_ = Feed::read_packet;
}

// --- frames ---

bool FrameDecoder::next() {
  constexpr int kMaxFailures = 4096;  // of a decoder that is drained
  for (int failures = 0; failures < kMaxFailures;) {
    input_.check_cancelled();
    const int status = avcodec_receive_frame(codec_.get(), frame_.get());
    if (status == 0) {
      input_.check_size(frame_->width, frame_->height);
      ++decoded_frames_;
      ++frames_;
      pts_ = frame_->pts != AV_NOPTS_VALUE ? frame_->pts : frame_->best_effort_timestamp;
      return true;
    }
    if (status == AVERROR_EOF && feed_ == Feed::replace) {
      open_codec();
      feed_ = Feed::send_packet;
      continue;
    }
    if (status == AVERROR_EOF) return false;
    if (status == AVERROR(ENOMEM))
      throw OutOfMemoryError("decoding of " + input_.name,
                             static_cast<std::uint64_t>(codec_->width) *
                                 static_cast<std::uint64_t>(codec_->height) * 3);
    const bool is_draining = feed_ == Feed::drain || feed_ == Feed::replace;
    if (status != AVERROR(EAGAIN) && is_draining) ++failures;
    if (!is_draining) feed();
  }
  return false;
}

bool FrameDecoder::decode_packet(Index number) {
  const PacketInfo& target = index_->packet(number);
  const Index key = index_->keyframe_before(number);
  const bool not_passed = pts_ == AV_NOPTS_VALUE || pts_ < target.pts;
  const bool on_the_way =
      position_ != Position::after_seek && key >= first_packet_ && key <= next_packet_;
  if (!not_passed || !on_the_way) seek(key);
  while (next()) {
    if (pts_ == target.pts) return true;
    if (pts_ > target.pts) return false;
  }
  return false;
}

/// Whether a keyframe is never preceded in presentation order by packets after it, so that frames
/// can be counted from it: codecs without references between frames, and H.264 frames whose
/// keyframes are IDR pictures (seek_by_count checks that).
bool FrameDecoder::groups_are_closed() const {
  if (is_intra_only()) return true;
  const AVCodecParameters& parameters = *demuxer_->stream().codecpar;
  return parameters.codec_id == AV_CODEC_ID_H264 && parameters.field_order == AV_FIELD_PROGRESSIVE;
}

/// Continues at packet `key`, a keyframe that is also frame `key`. False if that is not certain;
/// the decoder is then at the start of the file.
bool FrameDecoder::seek_by_count(Index key) {
  avcodec_flush_buffers(codec_.get());
  av_packet_unref(packet_.get());
  feed_ = Feed::read_packet;
  pts_ = AV_NOPTS_VALUE;
  position_ = Position::reading;
  const AVCodecParameters& parameters = *demuxer_->stream().codecpar;
  if (demuxer_->seek(index_->packet(key).dts) && read_packet() &&
      packet_->dts == index_->packet(key).dts &&
      (parameters.codec_id != AV_CODEC_ID_H264 || begins_with_idr(*packet_, parameters))) {
    feed_ = Feed::send_packet;
    first_packet_ = key;
    next_packet_ = key + 1;
    frames_ = key;
    return true;
  }
  can_seek_by_count_ = false;
  open();
  return false;
}

bool FrameDecoder::decode_nth(Index number) {
  if (index_ && can_seek_by_count_ && groups_are_closed() && !index_->has_hidden()) {
    const Index key = index_->key_packet_before(number);
    if ((frames_ > number || key > frames_) && index_->packet(key).dts != AV_NOPTS_VALUE)
      seek_by_count(key);
  }
  if (frames_ > number) restart();
  while (next())
    if (frames_ == number + 1) return true;
  return false;
}

}  // namespace pllava::detail
