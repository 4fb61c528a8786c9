#include "orientation.hpp"

#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

namespace pllava::detail {

namespace {

/// The stream's display matrix; null if it has none.
const std::uint8_t* display_matrix(const AVStream& stream) {
  constexpr std::size_t kBytes = 9 * sizeof(std::int32_t);
#if LIBAVCODEC_VERSION_INT >= AV_VERSION_INT(60, 31, 0)  // FFmpeg 6.1
  const AVPacketSideData* side =
      av_packet_side_data_get(stream.codecpar->coded_side_data, stream.codecpar->nb_coded_side_data,
                              AV_PKT_DATA_DISPLAYMATRIX);
  return side != nullptr && side->size >= kBytes ? side->data : nullptr;
#else
  SideDataSize size = 0;
  const std::uint8_t* data = av_stream_get_side_data(&stream, AV_PKT_DATA_DISPLAYMATRIX, &size);
  return size >= static_cast<SideDataSize>(kBytes) ? data : nullptr;
#endif
}

}  // namespace

Orientation Orientation::of(const AVStream& stream) {
  const std::uint8_t* data = display_matrix(stream);
  if (data == nullptr) return {};
  std::int32_t m[9];
  std::memcpy(m, data, sizeof m);
  // A stored pixel (p, q) is displayed at x = m0·p + m3·q, y = m1·p + m4·q.
  const double straight = std::abs(static_cast<double>(m[0])) + std::abs(static_cast<double>(m[4]));
  const double turned = std::abs(static_cast<double>(m[1])) + std::abs(static_cast<double>(m[3]));
  constexpr double kTangent = 0.0175;  // of one degree
  if (turned <= straight * kTangent) return {false, m[0] < 0, m[4] < 0};
  if (straight <= turned * kTangent) return {true, m[3] < 0, m[1] < 0};
  return {};
}

Frame Orientation::apply(const Frame& frame) const {
  const Index width = transpose ? frame.height : frame.width;
  const Index height = transpose ? frame.width : frame.height;
  std::vector<std::uint8_t> pixels(static_cast<std::size_t>(width * height * 3));
  std::uint8_t* out = pixels.data();
  for (Index y = 0; y < height; ++y)
    for (Index x = 0; x < width; ++x, out += 3) {
      const Index u = mirror_x ? width - 1 - x : x;
      const Index v = mirror_y ? height - 1 - y : y;
      std::memcpy(out, frame.data + (transpose ? u : v) * frame.stride + (transpose ? v : u) * 3,
                  3);
    }
  return Frame::own(std::move(pixels), width, height);
}

}  // namespace pllava::detail
